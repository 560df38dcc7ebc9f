"""The critical optimisation radius: where SAM stops learning, as an interval per seed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from aef_core.errors import BadInput
from companion.detectors.corit.training import is_collapsed

RADII = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
CURVE = ["rho", "auc", "train_loss"]


@dataclass(frozen=True)
class Radius:
    """The critical radius lies in [low, high].

    Attributes
    ----------
    low, high : float
        The last radius that learns before the first that collapses, and that one. high is inf where
        none collapses; both are NaN where SGD itself (the smallest radius) learns nothing.
    returns : bool
        Whether a larger radius learns again: then the curve has no single edge.
    """

    low: float
    high: float
    returns: bool = False

    @property
    def point(self) -> float:
        """One number for ranks: the geometric mean, or the end that is finite and not 0."""
        if np.isinf(self.high):
            return float("inf")
        return float(np.sqrt(self.low * self.high)) if self.low > 0 else self.high / 2


def critical_radius(curve: pd.DataFrame) -> Radius:
    """The radius at which one seed's runs collapse.

    Parameters
    ----------
    curve : DataFrame
        One row a run: rho, auc (validation), train_loss (over the last tenth).

    Raises
    ------
    ValueError
        A column is missing, there is no run, or a radius occurs twice.
    """
    missing = [c for c in CURVE if c not in curve]
    if missing or curve.empty:
        raise BadInput(f"a collapse curve needs rows of {', '.join(CURVE)}; missing: {missing}")
    if curve["rho"].duplicated().any():
        raise BadInput("a radius occurs twice: give the curve of one seed")
    runs = curve.sort_values("rho")
    fell = [is_collapsed(a, t) for a, t in zip(runs["auc"], runs["train_loss"], strict=True)]
    radii = runs["rho"].tolist()
    if fell[0]:
        return Radius(float("nan"), float("nan"))
    if not any(fell):
        return Radius(radii[-1], float("inf"))
    first = fell.index(True)
    return Radius(radii[first - 1], radii[first], returns=not all(fell[first:]))


def radius_table(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Critical radii of a grid of runs, over seeds.

    Parameters
    ----------
    runs : DataFrame
        One row a training: rho, auc, train_loss, weight_norm, seed and the columns of `by`.
    by : list of str
        What makes a cell: task, encoder, ...

    Returns
    -------
    DataFrame, one row a cell: `by`, low (the smallest of the seeds'), high (the largest), point
    (median of the seeds'), `point / |w|`, seeds, `SGD AUC`, returns (seeds that learn again).
    """
    rows = []
    for cell, part in runs.groupby(by, sort=False):
        found = [critical_radius(one) for _, one in part.groupby("seed")]
        points = [r.point for r in found]
        rows.append(
            {
                **dict(zip(by, cell if isinstance(cell, tuple) else (cell,), strict=True)),
                "low": min(r.low for r in found),
                "high": max(r.high for r in found),
                "point": float(np.median(points)),
                "point / |w|": float(np.median(points) / part["weight_norm"].mean()),
                "seeds": len(found),
                "SGD AUC": part.loc[part["rho"] == part["rho"].min(), "auc"].mean(),
                "returns": sum(r.returns for r in found),
            }
        )
    return pd.DataFrame(rows)
