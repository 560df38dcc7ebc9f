"""Edit survival: which of a forger's edits still work after protection, as shares and in words.

Only edits that work on the unprotected photo count; `outcomes.edit_status` says which.
"""

from collections.abc import Iterable

import pandas as pd

from aef_core.metrics.statistics import bootstrap_means, interval

OUTCOMES = ("unaffected", "changed", "undone")
UNCOUNTED = ("never seen", "already there", "empty mask")
IN_WORDS = {"Male": "gender", "Young": "age", "No_Beard": "beard", "Mouth_Slightly_Open": "mouth"}


def edit_survival(table: pd.DataFrame, by: Iterable[str] = ("model",)) -> pd.DataFrame:
    """Share of working edits that the judge still sees after protection.

    Formula: (unaffected + changed) / (unaffected + changed + undone).

    Returns
    -------
    DataFrame indexed by `by`, columns of the table from `evaluate`: value, low, high (95 %
    interval over images; NaN where no edit works), counts of each of `OUTCOMES` and `UNCOUNTED`;
    after `evaluate(..., detect=True)` also `broken`, the share of forged faces without one now.
    """
    groups = table.groupby(list(by), sort=False)
    counts = groups["outcome"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(groups.size().index).reindex(columns=[*OUTCOMES, *UNCOUNTED])
    ends = pd.DataFrame(columns=["value", "low", "high"], dtype=float)
    working = table[table["survives"].notna()]
    if len(working):
        ends = interval(bootstrap_means(working, list(by), "survives"))
    summary = ends.reindex(counts.index).join(counts.fillna(0).astype(int))
    return summary.assign(broken=groups["broken"].mean()) if "broken" in table else summary


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """A table from `evaluate` as text and counts, per run (its column method) and generator."""
    by = ["method", "model"]
    levels, rates = (interval(bootstrap_means(table, by, c)) for c in ("l2_mask", "interrupted"))
    edits = edit_survival(table, by)
    pairs = table.groupby(by)["excluded"].agg(["size", "sum"])
    columns = {
        "L2_mask": _with_ends(levels, 4),
        "SR_mask": _with_ends(rates, 4),
        "pairs": pairs["size"] - pairs["sum"],
        "excluded": pairs["sum"],
        "edit survival": _with_ends(edits, 3),
        **{name: edits[name] for name in (*OUTCOMES, "broken") if name in edits},
    }
    return pd.DataFrame(columns, levels.index).rename_axis(["run", "model"]).reset_index()


def _with_ends(found: pd.DataFrame, digits: int) -> pd.Series:
    text = f"{{value:.{digits}f}} [{{low:.{digits}f}}, {{high:.{digits}f}}]"
    return found.apply(lambda row: text.format(**row), axis=1)


def sentences(table: pd.DataFrame) -> pd.Series:
    """What became of each kind of edit in one run: "of 100 black-hair edits by StarGAN, 12 ...".

    Indexed by model and edit, in the order of the table, which is from `evaluate`.
    """
    groups = table.groupby(["model", "edit"], sort=False)["survives"].agg(["count", "sum"])
    return pd.Series({pair: _sentence(*pair, *map(int, n)) for pair, *n in groups.itertuples()})


def total(table: pd.DataFrame) -> str:
    """The sentence for all edits of a run together."""
    works, survive = table["survives"].count(), int(table["survives"].sum())
    return f"of {works} edits that work on unprotected photos, {_still(survive)}"


def _sentence(model: str, edit: str, works: int, survive: int) -> str:
    kind = IN_WORDS.get(edit, edit.lower().replace("_", "-"))
    if works == 0:
        return f"no {kind} edit by {model} works, even without protection"
    return f"of {works} {kind} edit{'s' * (works > 1)} by {model}, {_still(survive)}"


def _still(number: int) -> str:
    return f"{number or 'none'} still work{'s' * (number == 1)}"
