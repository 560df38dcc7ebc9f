"""How far a run is from the equilibrium of a max-min problem over generators."""

from collections.abc import Iterable

import pandas as pd

from aef_core.metrics.statistics import last_quarter


def equilibrium_residual(history: pd.DataFrame) -> pd.Series:
    """<w, S> - min_k S_k per step: how far weights still sit on generators that are not the worst.

    Zero at an exact max-min equilibrium. Units of S. `history` as in `Run.history`.
    """
    weighted = (history["weight"] * history["strength"]).groupby(history["step"]).sum()
    return weighted - history.groupby("step")["strength"].min()


def maxmin_gap(
    history: pd.DataFrame, references: Iterable[float] | None = None, column: str = "strength"
) -> dict[str, float]:
    """Distance of a run's end from the equilibrium of max_d min_k S_k(d) / c_k.

    Formula: gap = <q, u> - min_k u_k, with u_k = S_k / c_k and q_k proportional to w_k c_k.
    At an optimum some multipliers q on the simplex make sum_k q_k grad(S_k / c_k) point out of the
    box, and q is zero wherever u_k is not the least. The step follows sum_k w_k grad S_k, so q is
    known, and the gap is what it leaves of the second condition: zero at equilibrium. Both q and u
    are means over the last quarter of the steps, because single batches are noisy.

    Parameters
    ----------
    history : DataFrame
        As in `Run.history`.
    references : K floats, optional
        c_k, in the order of the zoo and in units of the column; all 1 by default.
    column : {"strength", "output_mse"}
        What is balanced.

    Returns
    -------
    dict with `worst` (min_k u_k), `weighted` (<q, u>), `gap` and `relative_gap` (gap / weighted,
    in [0, 1]; 0 where nothing is interrupted).
    """
    models = list(history["model"].unique())
    c = pd.Series([1.0] * len(models) if references is None else list(references), index=models)
    late = last_quarter(history)
    relative = late.pivot(index="step", columns="model", values=column)[models] / c
    multipliers = late.pivot(index="step", columns="model", values="weight")[models] * c
    q = multipliers.div(multipliers.sum(axis=1), axis=0).mean()
    u = relative.mean()
    worst, weighted = float(u.min()), float(q @ u)
    gap = weighted - worst
    relative_gap = gap / weighted if weighted > 0 else 0.0
    return {"worst": worst, "weighted": weighted, "gap": gap, "relative_gap": relative_gap}
