"""The figure of notebook 09: fragility along training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from aef_core.metrics import SUCCESS_THRESHOLD
from companion.plots.style import MODEL_COLOURS


def fragility(curves: pd.DataFrame) -> Figure:
    """L2_mask of a single-model perturbation against the images seen, a line a generator and arm.

    Parameters
    ----------
    curves : DataFrame
        Columns model, arm, images, L2_mask. Solid: with an identity term; dashed: without.
    """
    fig, ax = plt.subplots(figsize=(6.2, 3.4))
    for (model, arm), line in curves.groupby(["model", "arm"], sort=False):
        style = "o--" if arm.startswith("without") else "o-"
        ax.plot(line["images"] / 1000, line["L2_mask"], style, ms=4, color=MODEL_COLOURS[model],
                label=f"{model}, {arm}")  # fmt: skip
    ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
    ax.set(yscale="log", xlabel="images seen, thousands", ylabel="L2_mask, single-model")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig
