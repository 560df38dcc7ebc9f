"""Where a run settled: the last quarter of its history."""

import pandas as pd


def last_quarter(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last quarter of the steps, at least one step, of a `Run.history`."""
    steps = int(history["step"].max()) + 1
    return history[history["step"] >= steps - max(1, steps // 4)]


def late_means(history: pd.DataFrame) -> pd.DataFrame:
    """Mean of every column of a `Run.history` per generator, over the last quarter of the steps."""
    late = last_quarter(history).drop(columns="step").groupby("model", sort=False)
    return late.mean(numeric_only=True)
