"""What the numbers of a table of methods mean: above the floor? what share? ahead of which other?

Every function takes a table as from `study.compare`, with `random` and the single-model references
among its methods; see `differences` for floor and smallest effect, `metrics.statistics` for
intervals.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from aef_core.metrics import nonempty_mean
from aef_core.metrics.statistics import interval
from companion.studies.differences import (
    ABOVE_NOTHING,
    REFERENCE,
    above_random,
    difference,
    share_draws,
    smallest_effects,
    verdict,
)

OVER, SHARE = "L2_mask over random", "share"
AHEAD, SMALLEST = "AEF minus this", "smallest effect"
BETTER = {"min": "higher", "spread": "lower"}


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the single-model reference that each method reaches, above the floor.

    Returns
    -------
    DataFrame indexed by method (random is 0, the references are left out): a column per generator,
    then `worst`, the least of a seed's shares averaged over seeds, with its interval `low`, `high`.
    """
    draws = share_draws(table)
    each = interval(draws)["value"].unstack("method").T
    worst = {m: draws[m].dropna(axis=1, how="all").min(axis=1) for m in each.index}
    ends = interval(pd.DataFrame(worst)).rename(columns={"value": "worst"})
    order = [m for m in dict.fromkeys(table["method"]) if m in each.index]
    models = [m for m in dict.fromkeys(table["model"]) if m in each.columns]
    return each.loc[order, models].join(ends)


def paired(table: pd.DataFrame, method: str, others: Iterable[str]) -> pd.DataFrame:
    """One method minus each of the others: worst generator and spread, with interval and word."""
    rows = {}
    for other in others:
        change = difference(table, method, other)
        rows[other] = {
            measure: "{value:+.5f} [{low:+.5f}, {high:+.5f}] ".format(**change.loc[measure])
            + verdict(change.loc[measure], better)
            for measure, better in BETTER.items()
        }
    return pd.DataFrame(rows).T


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Methods by their worst generator; no rank for one that leaves a generator at random's level.

    Returns
    -------
    DataFrame indexed by method, best first: `min` (L2_mask, per seed and averaged), `rank` (1 is
    best; "not above random" in its place) and `idle`, the generators at that level.
    """
    seeds = nonempty_mean(table, ["method", "seed", "model"]).unstack()
    worst = seeds.min(axis=1).groupby("method").mean().drop(index=REFERENCE, errors="ignore")
    low = above_random(table)["low"].unstack("method")
    idle = {m: ", ".join(low.index[low[m] <= 0]) for m in worst.index}
    rows = pd.DataFrame({"min": worst, "idle": idle})
    above = rows["idle"] == ""
    places = rows.loc[above, "min"].rank(ascending=False).astype(int).astype(object)
    rows.insert(1, "rank", places.reindex(rows.index).fillna(ABOVE_NOTHING))
    return rows.assign(above=above).sort_values(["above", "min"], ascending=False).drop(
        columns="above"
    )  # fmt: skip


def judgement(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The same as long rows for a stored table: method, measure, model, value, low, high.

    `OVER`: the difference to random (`min`: of the generator least clearly above it). `SHARE`: as
    in `shares` (`min`: its `worst`). `AHEAD`: AEF's min and spread minus the method's. `SMALLEST`:
    the smallest such difference that counts.
    """
    rows, over, parts = [], above_random(table)[["value", "low", "high"]], shares(table)
    for method in dict.fromkeys(table["method"]):
        least = over.loc[method].sort_values("low").head(1).set_axis(["min"])
        rows += tidy(method, OVER, pd.concat([over.loc[method], least]))
        if method in parts.index:
            each = parts.loc[method].drop(["worst", "low", "high"]).to_frame("value")
            ends = parts.loc[[method], ["worst", "low", "high"]].set_axis(["min"])
            rows += tidy(method, SHARE, pd.concat([each, ends.rename(columns={"worst": "value"})]))
        if "AEF" in set(table["method"]) - {method} and method != REFERENCE:
            change = difference(table, "AEF", method)[["value", "low", "high"]]
            rows += tidy(method, AHEAD, change.loc[list(BETTER)])
    return rows + tidy(REFERENCE, SMALLEST, smallest_effects(table).to_frame("value"))


def tidy(method: str, measure: str, values: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame indexed by model (or min, mean, spread), named."""
    return [
        {"method": method, "measure": measure, "model": model, **row}
        for model, row in values.iterrows()
    ]
