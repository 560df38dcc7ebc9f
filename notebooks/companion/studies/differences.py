"""Whether a difference says anything: the floor, shares of what is possible, the smallest effect.

**The floor.** Any pattern of this size changes a forgery a little. The method `RANDOM`, random
signs, measures how much; a method not clearly above it is called neither better nor worse.

**The smallest effect.** An interval off zero says that a difference is there, not that it matters:
see `SMALLEST_EFFECT`.

Intervals are those of `aef_core.metrics.statistics`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from aef_core.errors import BadInput
from aef_core.metrics import balance, nonempty_mean
from aef_core.metrics.statistics import bootstrap_means, interval

RANDOM = "random"  # label and method of the floor
REFERENCE = "single-model"  # how tables label what a perturbation for one generator alone reaches
SMALLEST_EFFECT = 0.05
"""Share of the single-model reference (above the floor) that a difference must reach to be named.

What published evaluations leave open, the faces, the rounding to 8 bits, the clamp, moves L2_mask
by 3 to 5 % each (notebook 06, "Honest protocol"): a smaller difference would not outlive a change
of protocol.
"""
ABOVE_NOTHING, NO_EFFECT = "not above random", "no detectable effect"


def over_seeds(values: ArrayLike, within: tuple[float, float] | None = None) -> pd.Series:
    """Mean and interval of one number per seed: value, low, high; NaN ends for a single seed.

    `within` as of `statistics.interval`.
    """
    values = np.asarray(values, dtype=float)
    index = pd.MultiIndex.from_product([[0], range(len(values))], names=["draw", "seed"])
    return interval(pd.DataFrame({"value": values}, index=index), within).iloc[0]


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
