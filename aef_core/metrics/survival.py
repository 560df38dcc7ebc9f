"""Edit survival: which of a forger's edits still work after protection.

Only edits that work on the unprotected photo count; `outcomes.edit_status` says which.
"""

from collections.abc import Iterable

import pandas as pd

from aef_core.metrics.statistics import ZERO_TO_ONE, bootstrap_means, interval

OUTCOMES = ("unaffected", "changed", "undone")
UNCOUNTED = ("never seen", "already there", "empty mask")


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
