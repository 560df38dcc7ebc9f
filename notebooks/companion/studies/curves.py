"""How fragile a generator is: as shipped, and along training as the zoo's trainer measured it.

Along training a single-model perturbation (eps 0.05, 60 sign steps) is optimised for each
checkpoint and judged on people it has not seen; see `companion.zoo`.
"""

from pathlib import Path

import pandas as pd

from aef_core.metrics.statistics import intervals
from companion.config import ASSETS
from companion.studies.differences import RANDOM, REFERENCE

CURVES = ASSETS / "zoo" / "curves.csv"
WITH, WITHOUT = "with identity", "without identity"  # the arms: a term on unedited faces, or none
SHIPPED, RANDOM_SIGNS, ALONG = "shipped", "random signs", "along training"


def load_curves(path: Path = CURVES) -> pd.DataFrame:
    """One row a checkpoint, in order of training.

    Returns
    -------
    DataFrame with columns model, arm (`WITH` or `WITHOUT`), images (seen so far), L2_mask,
    L2_mask_raw (of the weights before averaging), copies_db (PSNR of an unedited face), success (of
    edits, by the judge). A value that was not measured is NaN.
    """
    return pd.read_csv(path).sort_values(["model", "arm", "images"], ignore_index=True)


def forest(judged: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Shipped generators, the most fragile first, then the stored checkpoints, in one frame.

    Parameters
    ----------
    judged : DataFrame
        Single-model references and random signs on the shipped generators, as of `kept.judged`.
    stored : DataFrame
        As of `load_curves`.

    Returns
    -------
    DataFrame with columns kind (`SHIPPED`, `RANDOM_SIGNS` or `ALONG`), model, arm, images, L2_mask,
    and low and high, a 95 % interval; NaN where a kind has none of it.
    """
    levels = intervals(judged).rename(columns={"value": "L2_mask"})
    kinds = levels["method"].map({REFERENCE: SHIPPED, RANDOM: RANDOM_SIGNS})
    shipped = levels.assign(kind=kinds).dropna(subset="kind").sort_values(
        ["kind", "L2_mask"], ascending=False
    )  # fmt: skip
    along = stored[["model", "arm", "images", "L2_mask"]].assign(kind=ALONG)
    columns = ["kind", "model", "arm", "images", "L2_mask", "low", "high"]
    return pd.concat([shipped, along], ignore_index=True).reindex(columns=columns)


def finding(rows: pd.DataFrame) -> str:
    """What `forest` shows, in one sentence."""
    shipped = rows[rows["kind"] == SHIPPED]
    most, least = shipped.iloc[0], shipped.iloc[-1]
    said = (f"{most['model']} is {most['L2_mask'] / least['L2_mask']:.3g} times as fragile as "
            f"{least['model']}")  # fmt: skip
    factors = [f"{m}'s by {r['ratio']:.2g}" for m, r in arms_compared(rows).iterrows()]
    return f"{said}; the identity term multiplies {' and '.join(factors)}" if factors else said


def arms_compared(curves: pd.DataFrame) -> pd.DataFrame:
    """Generators that were trained in both arms: L2_mask with and without, and their ratio.

    Rows of no arm are passed over. Of either arm the checkpoint nearest to the last number of
    images that both have seen.
    """
    rows = {}
    trained = curves[curves["arm"].isin([WITH, WITHOUT])]
    for model, part in trained.groupby("model", sort=False):
        if set(part["arm"]) < {WITH, WITHOUT}:
            continue
        shared = part.groupby("arm")["images"].max().min()
        nearest = (part["images"] - shared).abs().groupby(part["arm"]).idxmin()
        last = part.loc[nearest].set_index("arm")
        level = last["L2_mask"]
        rows[model] = {f"images, {arm}": last.loc[arm, "images"] for arm in (WITH, WITHOUT)}
        rows[model] |= {arm: level[arm] for arm in (WITH, WITHOUT)}
        rows[model]["ratio"] = level[WITH] / level[WITHOUT]
    return pd.DataFrame(rows).T.rename_axis("model")
