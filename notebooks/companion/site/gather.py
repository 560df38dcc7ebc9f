"""What the explorer shows: methods of the main table on one zoo, with one seed."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from companion.studies.differences import RANDOM, REFERENCE
from companion.studies.main_table import BUDGETS, ENTRIES, Entry, main_table
from companion.studies.study import open_lab

OWN = "for it alone"
"""Label of the single-model references: each generator's pattern was made for it alone."""
NAMES = {RANDOM: "random signs", REFERENCE: OWN, "max-min (ours)": "max-min"}
SHOWN: dict[str, Entry] = {
    RANDOM: ENTRIES[RANDOM],
    "averaging": ("uniform", {}),
    **{label: ENTRIES[label] for label in ("CMUA", "FOUND", "TSDF", "AEF", "max-min (ours)")},
}
RECORDED = ("AEF", "averaging")  # whose runs are offered for replay


@dataclass(frozen=True)
class Show:
    """Everything the page is made of.

    Attributes
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces no perturbation was optimised on.
    patterns : dict of method to dict of generator to Tensor, shape [1, 3, H, W]
        What protects a photo from a generator. Universal methods have one pattern for all.
    verdicts : DataFrame
        As from `study.compare`, methods under the names shown.
    histories : dict of label to DataFrame
        Of recorded runs, as `Run.history`.
    """

    zoo: Zoo
    faces: FaceBatch
    patterns: dict[str, dict[str, Tensor]]
    verdicts: pd.DataFrame
    histories: dict[str, pd.DataFrame]


def gather(profile: str | None = None) -> Show:
    """Optimise and judge the methods shown; finished runs are found again.

    Parameters
    ----------
    profile : str, optional
        `AEF_PROFILE` or "quick" by default.
    """
    lab = open_lab(profile)
    config = PerturbationConfig(steps=BUDGETS[lab.profile.name], step_size=lab.config.step_size)
    runs, table = main_table(lab.zoo, lab.train, lab.evaluator, config, (0,), SHOWN)
    patterns = {NAMES.get(m, m): dict.fromkeys(lab.zoo, runs[m, 0].delta) for m in SHOWN}
    patterns[OWN] = {name: runs[f"{REFERENCE}: {name}", 0].delta for name in lab.zoo}
    table = table.assign(method=table["method"].replace(NAMES))
    histories = {label: runs[label, 0].history for label in RECORDED}
    return Show(lab.zoo, lab.test, patterns, table, histories)
