"""What the notebooks have measured, for the ledger of claims: figures' numbers, and runs again.

A verdict never has a number of its own. It reads the sidecars that the notebooks write beside their
figures, and what `measure` computes from the kept runs.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from aef_core.config import ASSETS
from aef_core.errors import AEFError
from aef_core.metrics.statistics import last_quarter
from aef_core.models.zoo import checkpoints
from companion import kept
from companion.config import figures_dir
from companion.kept import published
from companion.studies.detection import detection_scores
from companion.studies.differences import RANDOM, difference
from companion.studies.equilibrium import maxmin_gap
from companion.studies.study import Lab, Runs, method_balance

RIVALS = ("CMUA", "FOUND", "DWT", "TSDF")


def shipped() -> dict[str, str]:
    """Embedded generator to the first eight digits of its file's SHA-256, as sidecars name it."""
    return {name: row.sha256[:8] for name, row in checkpoints(ASSETS / "zoo").items()}


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
            There is no such sidecar, or it is of another profile or of generators that the embedded
            zoo had before.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            raise NotMeasured(f"run notebook {name[:2]} (profile {self.profile})")
        sidecar = json.loads(path.read_text())
        if sidecar["config"].get("profile") != self.profile:
            raise NotMeasured(f"{path.name} is of another profile: run notebook {name[:2]}")
        shown = sidecar.get("weights")  # old sidecars name none
        if shown is None or not shown.get("embedded", {}).items() <= shipped().items():
            raise NotMeasured(f"{path.name} is of an earlier zoo: run notebook {name[:2]}")
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

    The kept runs, judged on the lab's unseen faces.

    Returns
    -------
    found : dict of name to DataFrame
    patterns : dict of method to Tensor
        The first seed's perturbations of AEF and its rivals.
    """
    runs = kept.at_hand(lab)
    labels = (*published.RULES, *RIVALS, published.MAXMIN, published.UNPOISONED)
    some = kept.chosen(runs, labels)
    table = kept.judged(some, lab.evaluator)
    patterns = {m: some[m, 0].delta for m in ("AEF", *RIVALS)}
    found = {
        "rules": paired(table, "AEF", (published.AVERAGING, published.STATIC)),
        "methods": paired(table, "AEF", RIVALS),
        "maxmin": paired(table, published.MAXMIN, (*RIVALS, "AEF")),
        "equilibrium": equilibrium(kept.chosen(some, published.RULES, references=False)),
        "detection": detection(lab, some),
        "separation": separation(table),
    }
    return found, patterns


def paired(table: pd.DataFrame, method: str, others: tuple[str, ...]) -> pd.DataFrame:
    """`difference` to each other, long: baseline, measure, value, low, high, smallest, above."""
    parts = [difference(table, method, other).assign(baseline=other) for other in others]
    return pd.concat(parts).rename_axis("measure").reset_index()


def equilibrium(runs: Runs) -> pd.DataFrame:
    """Per rule, mean over seeds: relative gap to max-min equilibrium of S, and restlessness.

    Restlessness is the mean change of a weight, over a step, in the last quarter; kept histories
    have every few steps, so that what swings in between and comes back is not seen.
    """
    rows = []
    for (method, _), run in runs.items():
        if method == RANDOM:
            continue
        weight = run.history.pivot(index="step", columns="model", values="weight")
        late = last_quarter(run.history)["step"].unique()
        moved = weight.diff().abs().div(weight.index.to_series().diff(), axis=0)
        restless = moved.loc[late].mean().mean()
        rows.append({"method": method, "relative gap": maxmin_gap(run.history)["relative_gap"],
                     "restlessness": restless, "largest weight": weight.loc[late].mean().max(),
                     "generators": weight.shape[1]})  # fmt: skip
    return pd.DataFrame(rows).groupby("method", sort=False).mean()


def detection(lab: Lab, runs: Runs, n: int = 24) -> pd.DataFrame:
    """MTCNN's scores on faces protected by AEF and by TSDF, one row per method."""
    faces = lab.test.images[:n]
    scores = {m: detection_scores(faces, runs[m, 0].delta) for m in ("AEF", "TSDF")}
    return pd.DataFrame(scores).T


def separation(table: pd.DataFrame) -> pd.DataFrame:
    """Balance of TSDF's pattern before and after its poison, and of random signs; first seed."""
    first = table[table["seed"] == 0]
    rows = first[first["method"].isin([published.UNPOISONED, published.TSDF, RANDOM])]
    return method_balance(rows.replace({"method": {published.UNPOISONED: "interruption only"}}))
