"""What the eye judges: the same faces, forged from the original and from each protected photo.

For any `FaceBatch`: the embedded faces, CelebA, LFW, FF++ frames or a folder, at the zoo's size.
"""

import pandas as pd

from aef_core.metrics import balance, l2_mask
from aef_core.plots import Blocks
from aef_core.plots import forgeries as forgeries
from companion.studies.study import model_means

STATIC = ("uniform", "grad-norm")


def picture_numbers(blocks: Blocks) -> pd.DataFrame:
    """L2_mask of the pictures in `forgeries`, mean over the faces: model, method, l2_mask.

    NaN where a generator edits none of them.
    """
    rows = []
    for name, pictures in blocks.items():
        original, forged = pictures["original"], pictures["forged"]
        for label in list(pictures)[2:]:
            values = l2_mask(forged, pictures[label], original)
            rows.append({"model": name, "method": label, "l2_mask": values.nanmean().item()})
    return pd.DataFrame(rows)


def rule_points(table: pd.DataFrame, taus: pd.DataFrame) -> pd.DataFrame:
    """Strength and balance of static rules and of AEF over its temperature.

    Parameters
    ----------
    table : DataFrame
        From `study.compare`, with the methods "uniform" and "grad-norm" among others.
    taus : DataFrame
        From `study.sweep` over tau.

    Returns
    -------
    DataFrame with columns label, rule, mean, min for `plots.grids.strength_against_balance`.
    """
    levels = {m: v for m, v in model_means(table).groupby("method") if m in STATIC}
    points = [("averaging" if m == "uniform" else "static", m, v) for m, v in levels.items()]
    points += [(f"{tau:g}", "aef", part["l2_mask"]) for tau, part in taus.groupby("tau")]
    return pd.DataFrame([{"label": label, "rule": rule} | balance(v) for label, rule, v in points])[
        ["label", "rule", "mean", "min"]
    ]
