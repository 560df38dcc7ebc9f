"""Where the rule of a run settled, and how far that is from the max-min equilibrium."""

import pandas as pd


def equilibrium_residual(history: pd.DataFrame) -> pd.Series:
    """<w, S> - min_k S_k per step: how far weights still sit on generators that are not the worst.

    Zero at an exact max-min equilibrium. Units of S. `history` as in `Run.history`.
    """
    weighted = (history["weight"] * history["strength"]).groupby(history["step"]).sum()
    return weighted - history.groupby("step")["strength"].min()


def last_quarter(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last quarter of the steps, at least one step, of a `Run.history`."""
    steps = int(history["step"].max()) + 1
    return history[history["step"] >= steps - max(1, steps // 4)]


def late_means(history: pd.DataFrame) -> pd.DataFrame:
    """Mean of every column of a `Run.history` per generator, over the last quarter of the steps."""
    late = last_quarter(history).drop(columns="step").groupby("model", sort=False)
    return late.mean(numeric_only=True)
