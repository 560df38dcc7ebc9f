"""Edit survival: which of a forger's edits still work after protection, as shares and in words.

Only edits that work on the unprotected photo count; `outcomes.edit_status` says which.
"""

import pandas as pd

from aef_core.metrics.statistics import bootstrap_means, interval

OUTCOMES = ("unaffected", "changed", "undone")
UNCOUNTED = ("never seen", "already there", "empty mask")
IN_WORDS = {"Male": "gender", "Young": "age", "No_Beard": "beard", "Mouth_Slightly_Open": "mouth"}


def edit_survival(table: pd.DataFrame, by: tuple[str, ...] = ("model",)) -> pd.DataFrame:
    """Share of working edits that the judge still sees after protection.

    Formula: (unaffected + changed) / (unaffected + changed + undone).

    Parameters
    ----------
    table : DataFrame
        From `evaluate`, or several of them with a column method.
    by : tuple of str
        Columns that make a group: generator by default; ("model", "edit") for every edit.

    Returns
    -------
    DataFrame indexed by `by`: value, low, high (95 % interval over images; NaN where no edit
    works), counts of each of `OUTCOMES` and `UNCOUNTED`; after `evaluate(..., detect=True)` also
    `broken`, the share of forged faces in which MTCNN finds none any more.
    """
    groups = table.groupby(list(by), sort=False)
    counts = groups["outcome"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(groups.size().index).reindex(columns=[*OUTCOMES, *UNCOUNTED])
    shares = _shares(table, by).reindex(counts.index)
    summary = shares.join(counts.fillna(0).astype(int))
    return summary.assign(broken=groups["broken"].mean()) if "broken" in table else summary


def _shares(table: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    working = table[table["survives"].notna()]
    if working.empty:
        return pd.DataFrame(columns=["value", "low", "high"], dtype=float)
    return interval(bootstrap_means(working, list(by), "survives"))


def survival_by_generator(table: pd.DataFrame) -> pd.DataFrame:
    """Edit survival per generator and, in the row `max`, of the worst protected one.

    Generators without a working edit are left out. Columns value, low, high.
    """
    working = table[table["survives"].notna()]
    if working.empty:
        return pd.DataFrame(columns=["value", "low", "high"], dtype=float)
    draws = bootstrap_means(working, ["model"], "survives")
    return interval(draws.assign(max=draws.max(axis=1)))


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """L2_mask, SR_mask, edit survival and counts of pairs, per run and generator.

    Returns
    -------
    DataFrame of text and counts; `broken`, where faces were looked for, as a share.
    """
    kept = table.assign(interrupted=table["interrupted"].astype(float))
    columns = {}
    for name, column in {"L2_mask": "l2_mask", "SR_mask": "interrupted"}.items():
        found = interval(bootstrap_means(kept, ["method", "model"], column))
        columns[name] = [
            f"{r.value:.4f} [{r.low:.4f}, {r.high:.4f}]" for r in found.itertuples(index=False)
        ]
    counts = table.groupby(["method", "model"], sort=False)["excluded"].agg(["size", "sum"])
    counts = counts.loc[list(found.index)]
    columns |= {"pairs": counts["size"] - counts["sum"], "excluded": counts["sum"]}
    edits = edit_survival(table, ("method", "model")).loc[list(found.index)]
    columns["edit survival"] = [
        f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in edits.itertuples()
    ]
    columns |= {name: edits[name] for name in (*OUTCOMES, "broken") if name in edits}
    view = pd.DataFrame(columns, index=found.index).rename_axis(["run", "model"])
    return view.reset_index()


def sentences(table: pd.DataFrame) -> pd.Series:
    """What happened to each kind of edit, for people: "of 100 black-hair edits by StarGAN, 12 ...".

    Parameters
    ----------
    table : DataFrame
        From `evaluate`, of one run.

    Returns
    -------
    Series of str, indexed by model and edit, in the table's order.
    """
    groups = table.groupby(["model", "edit"], sort=False)["survives"].agg(["count", "sum"])
    return pd.Series(
        {(m, e): _sentence(m, e, *map(int, row)) for (m, e), *row in groups.itertuples()}
    )


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
