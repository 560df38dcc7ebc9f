"""Fragility along training: what the zoo's trainer measured of every generator, kept as a table.

A single-model perturbation (eps 0.05, 60 sign steps) is optimised for each checkpoint and judged on
people it has not seen; see `companion.zoo`.
"""

from pathlib import Path

import pandas as pd

from companion.config import ASSETS

CURVES = ASSETS / "zoo" / "curves.csv"
WITH, WITHOUT = "with identity", "without identity"  # the arms: a term on unedited faces, or none


def load_curves(path: Path = CURVES) -> pd.DataFrame:
    """One row a checkpoint, in order of training.

    Returns
    -------
    DataFrame with columns model, arm (`WITH` or `WITHOUT`), images (seen so far), L2_mask,
    L2_mask_raw (of the weights before averaging), copies_db (PSNR of an unedited face), success (of
    edits, by the judge). A value that was not measured is NaN.
    """
    return pd.read_csv(path).sort_values(["model", "arm", "images"], ignore_index=True)


def arms_compared(curves: pd.DataFrame) -> pd.DataFrame:
    """Generators that were trained in both arms: L2_mask with and without, and their ratio.

    Of either arm the checkpoint nearest to the last number of images that both have seen.
    """
    rows = {}
    for model, part in curves.groupby("model", sort=False):
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
