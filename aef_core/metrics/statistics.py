"""How sure a number is: means resampled over images, balance per seed.

A perturbation is one seed's: its balance is that of its own means, and seeds are averaged after it.
The means of several seeds are more even than any seed, since not the same generator leads in each.
"""

import numpy as np
import pandas as pd

from aef_core.metrics.evaluation import balance

DRAWS = 1000
BALANCE = ["min", "mean", "spread", "cv"]


def bootstrap_means(
    table: pd.DataFrame, by: list[str], column: str = "l2_mask", n: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Means of a column per group, as measured and for resampled images.

    The unit of resampling is the image with all its edits, generators, methods and seeds, since
    those are not independent of each other; so comparisons of groups are paired.

    Parameters
    ----------
    table : DataFrame
        From `evaluate` or `study.compare`; rows with an empty mask are left out.
    by : list of str
        Columns that make a group, e.g. ["method", "model"].

    Returns
    -------
    DataFrame, n + 1 rows: row 0 the means as measured, then n bootstrap draws; a column per group.
    """
    kept = table[~table["excluded"]]
    grouped = kept.groupby(["image", *by], sort=False)[column]
    sums = grouped.sum().unstack(by, fill_value=0.0)
    counts = grouped.count().unstack(by, fill_value=0)[sums.columns]
    draws = np.random.default_rng(seed).multinomial(len(sums), [1 / len(sums)] * len(sums), size=n)
    weights = np.vstack([np.ones(len(sums)), draws])
    with np.errstate(invalid="ignore"):  # a draw may miss every edited image of a group
        means = (weights @ sums.to_numpy()) / (weights @ counts.to_numpy())
    return pd.DataFrame(means, columns=sums.columns)


def interval(draws: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Value and percentile interval of each column of `bootstrap_means` or a function of it.

    Returns
    -------
    DataFrame indexed by the columns, with columns value, low, high.
    """
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws.iloc[1:].to_numpy(float), [tail, 1 - tail], axis=0)
    return pd.DataFrame({"value": draws.iloc[0], "low": low, "high": high}, index=draws.columns)


def balance_draws(
    table: pd.DataFrame, method: str, column: str = "l2_mask", seed: int = 0
) -> pd.DataFrame:
    """Balance of one method over seeds, as measured and resampled: images *and* seeds are drawn.

    Two methods of one table see the same draws, so their difference is paired.

    Parameters
    ----------
    table : DataFrame
        As `study.compare` returns it: method, seed, image, model, ...

    Returns
    -------
    DataFrame, as of `bootstrap_means`, with columns min, mean, spread and cv.
    """
    means = bootstrap_means(table, ["method", "seed", "model"], column)[method]
    seeds = list(means.columns.unique(level="seed"))
    values = np.stack([means[s].dropna(axis=1, how="all").to_numpy() for s in seeds], axis=1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=len(means) - 1)
    shares = np.vstack([np.ones(len(seeds)), drawn]) / len(seeds)
    return pd.DataFrame({k: (v * shares).sum(axis=1) for k, v in balance(values).items()})


def method_balance(table: pd.DataFrame) -> pd.DataFrame:
    """`metrics.balance` of the mean L2_mask per generator, per seed and then averaged.

    One row a method.
    """
    kept = table[~table["excluded"]]
    kept = kept.assign(seed=kept["seed"].fillna(0) if "seed" in kept else 0)
    means = kept.groupby(["method", "seed", "model"], sort=False)["l2_mask"].mean()
    seeds = means.groupby(["method", "seed"], sort=False).apply(lambda v: pd.Series(balance(v)))
    return seeds.unstack().groupby("method", sort=False).mean()[BALANCE]
