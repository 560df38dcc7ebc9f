"""What the experiment of `fragility` measures at a checkpoint, and the table it keeps."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from aef_core.atomic import replacement
from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator
from aef_core.metrics.statistics import bootstrap_means, interval
from aef_core.models import DeepfakeModel
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.store import Run
from companion.studies.cycle import edit_success
from companion.studies.hiding import OCTAVES, Filtered, band_power, way_back
from companion.studies.references import single_model

SINGLE_MODEL = PerturbationConfig(step_size=2.5e-3, steps=60, batch=8, feature_weight=0.0)
CUTOFFS = (0.25, 0.125)  # of the smoothing forger, cycles per pixel
ATTACKED, WAYS_BACK = 48, 40  # test faces

Measures = list[dict[str, float | str]]


class Judge:
    """Measures a frozen generator: perturbations are made on `train`, everything else is `test`."""

    def __init__(
        self, train: FaceBatch, test: FaceBatch, config: PerturbationConfig = SINGLE_MODEL
    ) -> None:
        self.train, self.test, self.config = train, test, config

    def brief(self, model: DeepfakeModel) -> Measures:
        """Edit success, L2_mask and SR_mask of the single-model reference, share of empty masks."""
        return [row("edit success", edit_success(model, self.test)), *self._attacked(model)[0]]

    def all(self, model: DeepfakeModel) -> Measures:
        """`brief`, and the reference's spectrum, damaged ways back and a smoothing forger."""
        measures, run = self._attacked(model)
        success = edit_success(model, self.test)
        power = band_power(run.delta)
        for low, share in zip(OCTAVES, (power / power.sum()).tolist(), strict=False):
            measures.append(row("specialist power", share, low))
        errors = way_back(model, self.test[:WAYS_BACK])
        for (kind, level, of), part in errors.groupby(["damage", "level", "of"], sort=False):
            measures.append(row(f"way back of {of}: {kind}", part["error"].mean(), level))
        for cutoff in CUTOFFS:
            smooth = Filtered(model, cutoff).eval()
            measures += self._attacked(smooth, f" at cutoff {cutoff}")[0]
            name = f"edit success at cutoff {cutoff}"
            measures.append(row(name, edit_success(smooth, self.test)))
        return [row("edit success", success), *measures]

    def _attacked(self, model: DeepfakeModel, suffix: str = "") -> tuple[Measures, Run]:
        zoo = {model.name: model}
        runs = single_model(zoo, self.train, self.config, keep=False, progress=False)
        run = runs[model.name]
        table = Evaluator(zoo, self.test[:ATTACKED])(run.delta)
        rows = []
        for name, column in (("L2_mask", "l2_mask"), ("SR_mask", "interrupted")):
            found = interval(bootstrap_means(table, ["model"], column)).iloc[0]
            rows.append(row(f"specialist {name}{suffix}", *found[["value"]], None, *found[1:]))
        rows.append(row(f"empty masks{suffix}", table["excluded"].mean()))
        return rows, run


def row(
    measure: str,
    value: float,
    setting: float | None = None,
    low: float = float("nan"),
    high: float = float("nan"),
) -> dict[str, float | str]:
    """One measured number; `low` and `high` bound its interval over images, where it has one."""
    setting = float("nan") if setting is None else setting
    return {"measure": measure, "setting": setting, "value": value, "low": low, "high": high}


class Table:
    """A tidy CSV that grows by blocks, one block a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = pd.read_csv(path) if path.exists() else pd.DataFrame()

    def holds(self, key: Mapping[str, object]) -> bool:
        """Was this checkpoint measured?"""
        if self.rows.empty:
            return False
        return bool(np.logical_and.reduce([self.rows[k] == v for k, v in key.items()]).any())

    def refuse_other_start(self, start: int) -> None:
        """Numbers of two schedules do not belong in one table."""
        if self.rows.empty:
            return
        begun = set(self.rows.loc[self.rows["arm"] == "start", "iteration"])
        if begun != {start}:
            raise BadInput(f"{self.path} holds starts of {sorted(begun)} iterations, not {start}")

    def add(self, key: Mapping[str, object], measures: Measures) -> None:
        """Append a block and write the file anew, atomically."""
        block = pd.DataFrame([{**key, **m} for m in measures])
        self.rows = pd.concat([self.rows, block], ignore_index=True)
        with replacement(self.path) as temporary:
            self.rows.to_csv(temporary, index=False, float_format="%.6g")
