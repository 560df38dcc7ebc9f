"""How sure a number is, and whether it says anything: one standard for tables, figures, verdicts.

**The interval.** A number varies with the faces it was judged on (dozens) and with the seed of the
perturbation (three to five). Faces are resampled (paired bootstrap: a face with all its edits,
generators, methods and seeds is drawn as one), which gives the standard error b of the mean over
seeds. Seeds are too few to be resampled: intervals from three resampled values hold the truth in 75
of 100 cases instead of 95. They enter by the standard deviation s of the R per-seed values and
Student's t, which is wide for small R. The squares of the two half-widths are added:

    value +- sqrt((t(R - 1) s / sqrt(R))^2 + (1.96 b)^2).

Simulated for three and five seeds, whichever source leads, it holds the truth in 95 to 98 of 100
cases (pooling both variances under Welch's degrees of freedom: 92 to 95). One seed (methods per
image, single-model references) has an interval over faces alone.

**The floor.** Any pattern of this size changes a forgery a little. The method `RANDOM`, random
signs, measures how much; a method not clearly above it is called neither better nor worse.

**The smallest effect.** An interval off zero says that a difference is there, not that it matters:
see `SMALLEST_EFFECT`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from aef_core.errors import BadInput
from aef_core.metrics.evaluation import balance, nonempty_mean

DRAWS = 1000
BALANCE = ["min", "mean", "spread", "cv"]
RANDOM = "random"  # label and method of the floor
REFERENCE = "specialists"  # how stored tables label the single-model references
SMALLEST_EFFECT = 0.05
"""Share of the single-model reference (above the floor) that a difference must reach to be named.

What published evaluations leave open, the faces, the rounding to 8 bits, the clamp, moves L2_mask
by 3 to 5 % each (notebook 06, "Honest protocol"): a smaller difference would not outlive a change
of protocol.
"""
ABOVE_NOTHING, NO_EFFECT = "not above random", "no detectable effect"


def bootstrap_means(
    table: pd.DataFrame, by: list[str], column: str = "l2_mask", n: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Means of a column per group and seed, as measured and for resampled images.

    Functions of a row (differences, ratios, the least of some columns) are paired on images and
    seeds; `interval` then says how sure they are.

    Parameters
    ----------
    table : DataFrame
        From `evaluate` or `study.compare`; rows with an empty mask are left out. Without a column
        `seed`, or where it is empty, all rows are seed 0's.
    by : list of str
        Columns that make a group, e.g. ["method", "model"].

    Returns
    -------
    DataFrame, rows (draw, seed), a column per group. Draw 0 holds the means as measured, draws 1
    to n those of resampled images; NaN where a seed has no rows of a group.
    """
    edited = with_seed(table[~table["excluded"]])
    grouped = edited.groupby(["image", "seed", *by], sort=False)[column]
    sums = grouped.sum().unstack(["seed", *by], fill_value=0.0)
    counts = grouped.count().unstack(["seed", *by], fill_value=0)[sums.columns]
    draws = np.random.default_rng(seed).multinomial(len(sums), [1 / len(sums)] * len(sums), size=n)
    weights = np.vstack([np.ones(len(sums)), draws])
    with np.errstate(invalid="ignore"):  # a draw may miss every edited image of a group
        means = (weights @ sums.to_numpy()) / (weights @ counts.to_numpy())
    wide = pd.DataFrame(means, columns=sums.columns).rename_axis("draw")
    return wide.stack("seed", future_stack=True)[list(sums.columns.droplevel("seed").unique())]


def with_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `seed`, 0 where it says none."""
    return table.assign(seed=table["seed"].fillna(0) if "seed" in table else 0)


def interval(draws: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Value and interval of each column of `bootstrap_means` or of a function of its rows.

    The value is the mean over seeds as measured; the interval is that of the module's docstring,
    symmetric, NaN where there is one seed and one image.

    Returns
    -------
    DataFrame indexed by the columns, with columns value, low, high.
    """
    draws = draws.astype(float).replace([np.inf, -np.inf], np.nan)
    measured = draws.xs(0, level="draw")
    count, tail = measured.count(), (1 + level) / 2
    seeds = student.ppf(tail, (count - 1).where(count > 1)) * measured.std() / np.sqrt(count)
    means = draws.groupby(level="draw").mean().drop(index=0)
    images = norm.ppf(tail) * (means.std() if len(means) else seeds * np.nan)
    reach = np.sqrt(seeds.fillna(0) ** 2 + images.fillna(0) ** 2)
    reach = reach.where(seeds.notna() | images.notna())
    value = measured.mean()
    return pd.DataFrame({"value": value, "low": value - reach, "high": value + reach})


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Mean L2_mask with 95 % intervals over images and seeds: method, model, value, low, high."""
    draws = bootstrap_means(table.assign(method=table.get("method", "")), ["method", "model"])
    return interval(draws).rename_axis(["method", "model"]).reset_index()


def over_seeds(values: ArrayLike, level: float = 0.95) -> pd.Series:
    """Mean and interval of one number per seed: value, low, high; NaN ends for a single seed."""
    values = np.asarray(values, dtype=float)
    index = pd.MultiIndex.from_product([[0], range(len(values))], names=["draw", "seed"])
    return interval(pd.DataFrame({"value": values}, index=index), level).iloc[0]


def balance_draws(table: pd.DataFrame, method: str, column: str = "l2_mask") -> pd.DataFrame:
    """`metrics.balance` of one method, as of `bootstrap_means`: columns min, mean, spread and cv.

    Computed per seed and then averaged: means over seeds would look more even than any perturbation
    is, because another generator may lead in each seed.
    """
    draws = bootstrap_means(table, ["method", "model"], column)[method].dropna(axis=1, how="all")
    return pd.DataFrame(balance(draws.to_numpy()), index=draws.index)


def above_random(table: pd.DataFrame, column: str = "l2_mask") -> pd.DataFrame:
    """The floor: is a method clearly above its random row, generator by generator?

    Parameters
    ----------
    table : DataFrame
        A row per method, seed, image, generator and edit; `RANDOM` is among the methods.

    Returns
    -------
    DataFrame indexed by method and model: value, low, high of the difference to random, paired on
    images and seeds, and `above`, whether its interval lies above zero.

    Raises
    ------
    ValueError
        The table has no random rows.
    """
    draws = _judged(table, column, RANDOM)
    floor = draws[RANDOM]
    over = {m: draws[m] - floor for m in draws.columns.unique("method")}
    found = interval(pd.concat(over, axis=1, names=["method"])).dropna(subset="value")
    return found.assign(above=found["low"] > 0)


def share_draws(table: pd.DataFrame, column: str = "l2_mask") -> pd.DataFrame:
    """Shares of the single-model reference, above the floor: (method - random) / (alone - random).

    0 is what random signs do, 1 what a perturbation for this generator alone does. Shares can be
    compared between generators where levels cannot: a level that is little for StarGAN is out of
    reach for AttGAN. Paired on images; reference and floor are means over their seeds.

    Returns
    -------
    DataFrame, as of `bootstrap_means` with columns (method, model); NaN for a generator whose
    reference is not above the floor.

    Raises
    ------
    ValueError
        The table lacks random or single-model rows.
    """
    draws = _judged(table, column, RANDOM, REFERENCE)
    floor, alone = (draws[m].groupby(level="draw").transform("mean") for m in (RANDOM, REFERENCE))
    reach = (alone - floor).where(alone > floor)
    methods = [m for m in draws.columns.unique("method") if m != REFERENCE]
    return pd.concat({m: (draws[m] - floor) / reach for m in methods}, axis=1, names=["method"])


def smallest_effects(table: pd.DataFrame, column: str = "l2_mask") -> pd.Series:
    """Differences worth naming in min, mean, spread (units of the column) and cv.

    `SMALLEST_EFFECT` of the reference above the floor: the least of the generators' for the worst
    one, their mean for mean and spread.
    """
    both = table[table["method"].isin([RANDOM, REFERENCE])]
    _judged(both, column, RANDOM, REFERENCE)
    level = nonempty_mean(both, ["method", "model"], column).unstack()
    reach = (level.loc[REFERENCE] - level.loc[RANDOM]).clip(lower=0)
    worth = {"min": reach.min(), "mean": reach.mean(), "spread": reach.mean(), "cv": 1.0}
    return SMALLEST_EFFECT * pd.Series(worth)


def difference(
    table: pd.DataFrame, method: str, baseline: str, column: str = "l2_mask"
) -> pd.DataFrame:
    """Balance of one method minus another's, paired on images and seeds: all `verdict` needs.

    Returns
    -------
    DataFrame indexed by min, mean, spread, cv, with columns value, low, high, `smallest` (see
    `smallest_effects`) and `above`: for min, whether the method is above random on every generator;
    for the others, on any.

    Raises
    ------
    ValueError
        The table lacks random or single-model rows.
    """
    found = interval(balance_draws(table, method, column) - balance_draws(table, baseline, column))
    over = above_random(table[table["method"].isin([method, RANDOM])], column)["above"]
    above = {k: over[method].all() if k == "min" else over[method].any() for k in found.index}
    return found.assign(smallest=smallest_effects(table, column), above=pd.Series(above))


def verdict(row: pd.Series, better: str) -> str:
    """Words for a difference: better, worse, no detectable effect, or not above random.

    Better or worse needs an interval off zero *and* a difference of at least the smallest effect
    worth naming. A method at the floor is neither.

    Parameters
    ----------
    row : Series with value, low, high, smallest, and above (True where left out)
    better : {"higher", "lower"}
    """
    if not row.get("above", True):
        return ABOVE_NOTHING
    off_zero = row["low"] > 0 or row["high"] < 0
    if not (off_zero and abs(row["value"]) >= row["smallest"]):
        return NO_EFFECT
    return "better" if (row["value"] > 0) == (better == "higher") else "worse"


def _judged(table: pd.DataFrame, column: str, *needed: str) -> pd.DataFrame:
    """`bootstrap_means` per method and generator, if the rows it is measured by are there."""
    missing = [m for m in needed if m not in set(table["method"])]
    if missing:
        raise BadInput(
            f"the table has no rows of {' and '.join(missing)}: run these methods on the same faces"
        )
    return bootstrap_means(table, ["method", "model"], column)


def method_balance(table: pd.DataFrame) -> pd.DataFrame:
    """`metrics.balance` of the mean L2_mask per generator, per seed and then averaged.

    One row per method.
    """
    means = nonempty_mean(with_seed(table), ["method", "seed", "model"])
    seeds = means.groupby(["method", "seed"], sort=False).apply(lambda v: pd.Series(balance(v)))
    return seeds.unstack().groupby("method", sort=False).mean()[BALANCE]
