"""The arms of the fragility experiment compared: a cycle, an identity loss, both or neither.

`companion.training.fragility` measured the numbers on CelebA; they are stored in the package.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from aef_core.errors import BadInput
from companion.config import ASSETS
from companion.studies.differences import over_seeds

RESULTS = ASSETS / "results"
RUN = ["architecture", "seed", "arm", "cycle", "iteration"]
FRAGILITY, SUCCESS = "specialist L2_mask", "edit success"


def load_results(folder: Path = RESULTS) -> pd.DataFrame:
    """The stored numbers, tidy: one row per checkpoint and measure (value, low, high over images).

    Columns: architecture, seed, arm, cycle (its weight), iteration, measure, setting, value, low,
    high. `iteration` counts the shipped generator's, with which every arm starts.
    """
    return pd.concat(map(pd.read_csv, sorted(folder.glob("fragility-*.csv"))), ignore_index=True)


def checkpoints(table: pd.DataFrame) -> pd.DataFrame:
    """One row per checkpoint: `RUN`, edit success, and L2_mask with its interval over images."""
    fragile = table[table["measure"] == FRAGILITY].set_index(RUN)[["value", "low", "high"]]
    success = table[table["measure"] == SUCCESS].set_index(RUN)["value"]
    named = fragile.rename(columns={"value": "l2_mask"})
    return named.assign(success=success).reset_index()


def against(rows: pd.DataFrame, other: str = "identity", at: str = "equal time") -> pd.DataFrame:
    """Every arm beside another arm of the same architecture and seed.

    Parameters
    ----------
    rows : DataFrame
        From `checkpoints`.
    other : str
        The arm to compare with.
    at : {"equal time", "equal success"}
        Compare at the last iteration that both arms have, or an arm's last checkpoint with that of
        the other whose edit success is nearest.

    Returns
    -------
    DataFrame, one row an architecture, arm and seed: success and l2_mask of both (`other ...`) and
    the ratio of their l2_mask.
    """
    if at not in ("equal time", "equal success"):
        raise BadInput(f"unknown comparison {at!r}; known: equal time, equal success")
    pairs = []
    lines = rows[~rows["arm"].isin(["start", other])]
    for (architecture, seed, arm), line in lines.groupby(
        ["architecture", "seed", "arm"], sort=False
    ):
        same = (rows["architecture"] == architecture) & (rows["seed"] == seed)
        rivals = rows[same & (rows["arm"] == other)]
        if at == "equal time":
            line = line[line["iteration"].isin(rivals["iteration"])]
        if line.empty or rivals.empty:
            continue
        own = line.loc[line["iteration"].idxmax()]
        if at == "equal time":
            rival = rivals[rivals["iteration"] == own["iteration"]].iloc[0]
        else:
            rival = rivals.loc[(rivals["success"] - own["success"]).abs().idxmin()]
        pairs.append(
            {
                "architecture": architecture,
                "arm": arm,
                "seed": seed,
                "success": own["success"],
                "other success": rival["success"],
                "l2_mask": own["l2_mask"],
                "other l2_mask": rival["l2_mask"],
                "ratio": own["l2_mask"] / rival["l2_mask"],
            }
        )
    return pd.DataFrame(pairs)


def ratio_interval(values: pd.Series) -> pd.Series:
    """Geometric mean of ratios over seeds, `statistics.over_seeds` of their logarithms.

    One seed has no interval: low and high are NaN.
    """
    found = np.exp(over_seeds(np.log(values.to_numpy(float))))
    return pd.Series({"seeds": len(values), **found.rename({"value": "ratio"})})


def ratio_words(row: pd.Series) -> str:
    """A ratio in words, with its interval if there is one."""
    if not np.isfinite(row["low"]):
        return f"x {row['ratio']:.2f} (one seed, no interval)"
    return f"x {row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def summary(rows: pd.DataFrame, other: str = "identity", at: str = "equal time") -> pd.DataFrame:
    """`against` over seeds: mean success and L2_mask, ratio with its interval over seeds."""
    pairs = against(rows, other, at).groupby(["architecture", "arm"], sort=False)
    means = pairs[["success", "other success", "l2_mask", "other l2_mask"]].mean()
    return means.join(pairs["ratio"].apply(ratio_interval).unstack())


EFFECTS = {
    "cycle, without identity": ("cycle", "neither"),
    "cycle, beside identity": ("both", "identity"),
    "identity, without cycle": ("identity", "neither"),
    "identity, beside cycle": ("both", "cycle"),
    "cycle in place of identity": ("cycle", "identity"),
    "a cycle 16 times as heavy": ("cycle x 4", "cycle / 4"),
}


def effects(rows: pd.DataFrame) -> pd.DataFrame:
    """What either loss does to L2_mask at equal time: `summary` by architecture and effect."""
    found = {}
    for effect, (arm, other) in EFFECTS.items():
        if other not in set(rows["arm"]):
            continue
        for (architecture, name), row in summary(rows, other).iterrows():
            if name == arm:
                found[architecture, effect] = row
    return (
        pd.DataFrame(found)
        .T.rename_axis(["architecture", "effect"])
        .sort_index(level=0, sort_remaining=False)
    )
