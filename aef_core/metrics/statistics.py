"""How sure a mean is: one interval for tables, figures and verdicts; and where a run settled.

A number varies with the faces it was judged on (dozens) and with the seed of the perturbation
(three to five). Faces are resampled (paired bootstrap: a face is drawn with all its edits,
generators, methods and seeds), which gives the standard error b of the mean over seeds. Seeds are
too few for that; they enter by the standard deviation s of the R per-seed values and Student's t:

    value +- r,    r = sqrt((t(R - 1) s / sqrt(R))^2 + (1.96 b)^2).

Simulated for three and five seeds, it holds the truth in 95 to 98 of 100 cases. One seed has an
interval over faces alone. Shares and AUCs take r on the logit scale, which keeps them in [0, 1]:
expit(logit(v) +- r / (v (1 - v))). Near a bound this holds in 90 to 95 of 100, v +- r in 77 to 93.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm, t

from aef_core.metrics.evaluation import balance, nonempty_mean

DRAWS = 1000
TAIL = 0.975  # of a 95 % interval
OUTCOMES = ("unaffected", "changed", "undone")
UNCOUNTED = ("never seen", "already there", "empty mask")
ZERO_TO_ONE = (0.0, 1.0)  # between which a share or an AUC lies


def bootstrap_means(
    table: pd.DataFrame, by: list[str], column: str = "l2_mask", n: int = DRAWS
) -> pd.DataFrame:
    """Means of a column per group and seed, as measured and for resampled images.

    All groups share the draws. So a difference, ratio or minimum of columns is a paired one, and
    `interval` applies to it, too. `table` is from `evaluate`: rows with an empty mask are left out,
    and without a column seed it is 0.

    Returns
    -------
    DataFrame with rows (draw, seed) and a column per group of `by`. Draw 0 has the means as
    measured, draws 1 to n those of resampled images; NaN where a seed has no rows of a group.
    """
    edited = with_seed(table[~table["excluded"]]).astype({column: float})
    grouped = edited.groupby(["image", "seed", *by], sort=False)[column]
    sums = grouped.sum().unstack(["seed", *by], fill_value=0.0)
    counts = grouped.count().unstack(["seed", *by], fill_value=0)[sums.columns]
    draws = np.random.default_rng(0).multinomial(len(sums), [1 / len(sums)] * len(sums), size=n)
    weights = np.vstack([np.ones(len(sums)), draws])
    with np.errstate(invalid="ignore"):  # a draw may miss every edited image of a group
        means = (weights @ sums.to_numpy()) / (weights @ counts.to_numpy())
    wide = pd.DataFrame(means, columns=sums.columns).rename_axis("draw")
    return wide.stack("seed", future_stack=True)[list(sums.columns.droplevel("seed").unique())]


def with_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `seed`, 0 where it says none."""
    return table.assign(seed=table["seed"].fillna(0) if "seed" in table else 0)


def interval(draws: pd.DataFrame, within: tuple[float, float] | None = None) -> pd.DataFrame:
    """Value and 95 % interval of each column of `bootstrap_means` or of a function of its rows.

    For each column a row: value (the mean over seeds as measured), low and high, which are NaN
    where there is one seed and one image. No end leaves `within`, the bounds of the quantity.
    """
    draws = draws.astype(float).replace([np.inf, -np.inf], np.nan)
    measured = draws.xs(0, level="draw")
    count = measured.count()
    seeds = t.ppf(TAIL, (count - 1).where(count > 1)) * measured.std() / np.sqrt(count)
    means = draws.groupby(level="draw").mean().drop(index=0)
    images = norm.ppf(TAIL) * (means.std() if len(means) else seeds * np.nan)
    reach = np.sqrt(seeds.fillna(0) ** 2 + images.fillna(0) ** 2)
    reach = reach.where(seeds.notna() | images.notna())
    value = measured.mean()
    if within is None:
        return pd.DataFrame({"value": value, "low": value - reach, "high": value + reach})
    least, width = within[0], within[1] - within[0]
    share = ((value - least) / width).clip(0, 1)
    reach = reach / width / (share * (1 - share)).replace(0, np.inf)  # at a bound nothing varies
    low, high = (least + width * expit(logit(share) + r) for r in (-reach, reach))
    return pd.DataFrame({"value": value, "low": low, "high": high})


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Mean L2_mask and interval per method and generator: method, model, value, low, high."""
    draws = bootstrap_means(table.assign(method=table.get("method", "")), ["method", "model"])
    return interval(draws).rename_axis(["method", "model"]).reset_index()


def method_balance(table: pd.DataFrame) -> pd.DataFrame:
    """`balance` of the mean L2_mask per generator, per seed and then averaged; a row per method."""
    means = nonempty_mean(with_seed(table), ["method", "seed", "model"])
    seeds = means.groupby(["method", "seed"], sort=False).apply(lambda v: pd.Series(balance(v)))
    return seeds.unstack(sort=False).groupby("method", sort=False).mean()


def edit_survival(table: pd.DataFrame, by: Iterable[str] = ("model",)) -> pd.DataFrame:
    """Share of working edits that the judge still sees after protection.

    Formula: (unaffected + changed) / (unaffected + changed + undone).

    Returns
    -------
    DataFrame indexed by `by`, columns of the table from `evaluate`: value, low, high (95 %
    interval over images; NaN where no edit works), counts of each of `OUTCOMES` and `UNCOUNTED`.
    """
    groups = table.groupby(list(by), sort=False)
    counts = groups["outcome"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(groups.size().index).reindex(columns=[*OUTCOMES, *UNCOUNTED])
    ends = pd.DataFrame(columns=["value", "low", "high"], dtype=float)
    working = table[table["survives"].notna()]
    if len(working):
        ends = interval(bootstrap_means(working, list(by), "survives"), ZERO_TO_ONE)
    return ends.reindex(counts.index).join(counts.fillna(0).astype(int))


def last_quarter(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last quarter of the steps, at least one step, of a `Run.history`."""
    steps = int(history["step"].max()) + 1
    return history[history["step"] >= steps - max(1, steps // 4)]


def late_means(history: pd.DataFrame) -> pd.DataFrame:
    """Mean of every column of a `Run.history` per generator, over the last quarter of the steps."""
    late = last_quarter(history).drop(columns="step").groupby("model", sort=False)
    return late.mean(numeric_only=True)
