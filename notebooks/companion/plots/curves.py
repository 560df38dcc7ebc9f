"""The figure of notebook 09: fragility along training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from aef_core.plots import model_colours
from companion.plots.style import threshold_line


def fragility(curves: pd.DataFrame) -> Figure:
    """L2_mask of a single-model perturbation against the images seen, a line a generator and arm.

    Parameters
    ----------
    curves : DataFrame
        Columns model, arm, images, L2_mask. Solid: with an identity term; dashed: without.
    """
    colours = model_colours(curves["model"])
    fig, ax = plt.subplots(figsize=(5.4, 3.8))
    for (model, arm), line in curves.groupby(["model", "arm"], sort=False):
        style = "o--" if arm.startswith("without") else "o-"
        ax.plot(line["images"] / 1000, line["L2_mask"], style, ms=4, color=colours[model],
                label=f"{model}, {arm}")  # fmt: skip
    threshold_line(ax)
    ax.set(yscale="log", xlabel="images seen in training, thousands",
           ylabel="L2_mask of a perturbation\nmade for it alone")  # fmt: skip
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, fontsize=8)
    return fig
