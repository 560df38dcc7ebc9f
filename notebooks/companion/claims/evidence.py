"""What the notebooks have measured, for the ledger of claims: figures' numbers, and runs again.

A verdict never has a number of its own. It reads the sidecars that the notebooks write beside their
figures, and what `measure` computes from the stored runs.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from aef_core.errors import AEFError
from aef_core.metrics import Evaluator
from aef_core.metrics.history import last_quarter
from aef_core.runs import optimize
from companion.config import figures_dir
from companion.studies.detection import detection_scores
from companion.studies.differences import RANDOM, difference
from companion.studies.equilibrium import maxmin_gap
from companion.studies.main_table import BUDGETS, ENTRIES, main_table
from companion.studies.references import evaluate_each, single_model
from companion.studies.study import Lab, Runs, compare, method_balance

RIVALS = ("CMUA", "FOUND", "DWT", "TSDF")
RULES = {name: (name, {}) for name in (RANDOM, "uniform", "grad-norm", "aef")}


class NotMeasured(AEFError, LookupError):
    """The notebook that measures this has not been run in this profile; the message names it."""


@dataclass(frozen=True)
class Evidence:
    """Numbers by name.

    Attributes
    ----------
    profile : str
        Sidecars of another profile do not count.
    folder : Path
        Where the sidecars lie.
    measured : dict of name to DataFrame
        What `measure` found.
    """

    profile: str
    folder: Path = field(default_factory=figures_dir)
    measured: dict[str, pd.DataFrame] = field(default_factory=dict)

    def data(self, name: str) -> Any:
        """The numbers drawn in figure `name`.

        Raises
        ------
        NotMeasured
            There is no such sidecar, or it is of another profile.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            raise NotMeasured(f"run notebook {name[:2]} (profile {self.profile})")
        sidecar = json.loads(path.read_text())
        if sidecar["config"].get("profile") != self.profile:
            raise NotMeasured(f"{path.name} is of another profile: run notebook {name[:2]}")
        return sidecar["data"]

    def table(self, name: str) -> pd.DataFrame:
        """`data` as a table, or what `measure` found under this name."""
        if name in self.measured:
            return self.measured[name]
        if name[:2].isdigit():
            return pd.DataFrame(self.data(name))
        raise NotMeasured(f"{name}: see `evidence.measure`")


def measure(lab: Lab) -> tuple[dict[str, pd.DataFrame], dict[str, Tensor]]:
    """What no sidecar holds: paired differences, equilibrium, restlessness, detection, separation.

    Runs of notebooks 02 and 06 are found again; without them they are made (minutes).

    Returns
    -------
    found : dict of name to DataFrame
    patterns : dict of method to Tensor
        The first seed's perturbations of AEF and its rivals.
    """
    size = lab.profile.name
    seeds = lab.profile.seeds
    runs, table = compare(lab.zoo, lab.train, lab.evaluator, RULES, lab.config, seeds)
    alone = single_model(lab.zoo, lab.train, lab.config)
    table = pd.concat([table, evaluate_each(alone, lab.evaluator)], ignore_index=True)
    config = replace(lab.config, steps=BUDGETS[size], feature_steps=0)
    chosen = {m: ENTRIES[m] for m in (RANDOM, *RIVALS, "AEF", "max-min (ours)")}
    some = seeds if size != "smoke" else (0,)
    made, judged = main_table(lab.zoo, lab.train, lab.evaluator, config, some, chosen)
    patterns = {m: made[m, some[0]].delta for m in ("AEF", *RIVALS)}
    found = {
        "rules": paired(table, "aef", ("uniform", "grad-norm")),
        "methods": paired(judged, "AEF", RIVALS),
        "maxmin": paired(judged, "max-min (ours)", (*RIVALS, "AEF")),
        "equilibrium": equilibrium(runs),
        "detection": detection(lab, made, some[0]),
        "separation": separation(lab, config, judged, some[0]),
    }
    return found, patterns


def paired(table: pd.DataFrame, method: str, others: tuple[str, ...]) -> pd.DataFrame:
    """`difference` to each other, long: baseline, measure, value, low, high, smallest, above."""
    parts = [difference(table, method, other).assign(baseline=other) for other in others]
    return pd.concat(parts).rename_axis("measure").reset_index()


def equilibrium(runs: Runs) -> pd.DataFrame:
    """Per rule, mean over seeds: relative gap to max-min equilibrium of S, and restlessness.

    Restlessness is the mean change of a weight from one step to the next in the last quarter.
    """
    rows = []
    for (method, _), run in runs.items():
        if method == RANDOM:
            continue
        weight = run.history.pivot(index="step", columns="model", values="weight")
        late = last_quarter(run.history)["step"].unique()
        restless = weight.diff().abs().loc[late].mean().mean()
        rows.append({"method": method, "relative gap": maxmin_gap(run.history)["relative_gap"],
                     "restlessness": restless, "largest weight": weight.loc[late].mean().max(),
                     "generators": weight.shape[1]})  # fmt: skip
    return pd.DataFrame(rows).groupby("method", sort=False).mean()


def detection(lab: Lab, made: Runs, seed: int, n: int = 24) -> pd.DataFrame:
    """MTCNN's scores on faces protected by AEF and by TSDF, one row per method."""
    faces = lab.test.images[:n]
    scores = {m: detection_scores(faces, made[m, seed].delta) for m in ("AEF", "TSDF")}
    return pd.DataFrame(scores).T


def separation(lab: Lab, config: Any, judged: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Balance of TSDF's pattern before and after its poison, and of random signs; same seed."""
    bare = optimize(lab.zoo, lab.train, "tsdf", replace(config, seed=seed), poison_steps=0)
    before = Evaluator(lab.zoo, lab.test)(bare.delta).assign(method="interruption only")
    after = judged[judged["method"].isin(["TSDF", RANDOM]) & (judged["seed"] == seed)]
    return method_balance(pd.concat([before, after]))
