"""AEF's temperature and memory: kept runs, and the temperature chosen on faces of its own."""

from collections.abc import Mapping

import pandas as pd

from aef_core.faces import FaceBatch, load_faces
from aef_core.metrics import Evaluator
from aef_core.metrics.statistics import late_means
from companion.kept.judging import judged
from companion.kept.making import at_hand
from companion.kept.published import TAUS
from companion.kept.store import Kept
from companion.studies.study import Lab, model_means


def swept(runs: Kept, table: pd.DataFrame, name: str, labels: Mapping[float, str]) -> pd.DataFrame:
    """Kept runs that differ in one setting of AEF, first seed.

    Parameters
    ----------
    table : DataFrame
        From `kept.judged`, of these runs among others.
    name : str
        What to call the setting.
    labels : mapping of its value to the run's label
        `published.TAUS` or `published.BETAS`.

    Returns
    -------
    DataFrame with columns `name`, model, l2_mask and weight (mean over the last quarter).
    """
    first = table[table["seed"] == 0]
    levels, parts = model_means(first), []
    for value, label in sorted(labels.items()):
        rows = levels[label].rename("l2_mask").to_frame()
        rows["weight"] = late_means(runs[label, 0].history)["weight"]
        parts.append(rows.reset_index().assign(**{name: value}))
    return pd.concat(parts, ignore_index=True)[[name, "model", "l2_mask", "weight"]]


def choose_tau(lab: Lab) -> float:
    """The temperature whose worst generator has the highest mean L2_mask on `fresh_faces`.

    The evaluation faces stay unseen: a setting chosen on them would be judged too kindly.
    """
    runs = at_hand(lab)
    some = {(label, 0): runs[label, 0] for label in TAUS.values()}
    table = judged(some, Evaluator(lab.zoo, fresh_faces(some, lab.profile.n_test)))
    return float(swept(some, table, "tau", TAUS).groupby("tau")["l2_mask"].min().idxmax())


def fresh_faces(runs: Kept, n: int) -> FaceBatch:
    """The `n` embedded training faces after those that the kept runs were optimised on."""
    seen = max(len(run.faces) for run in runs.values())
    return load_faces("embedded", "train", n=seen + n)[seen:]
