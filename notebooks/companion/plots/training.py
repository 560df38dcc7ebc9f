"""How the generators of a zoo were trained."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

PANELS = {
    "returned (L1)": ("cycle", "identity", "reconstruction"),
    "attributes": ("attribute",),
    "critic": ("critic",),
}
COLOURS = {"cycle": "C0", "identity": "C1", "reconstruction": "C2"}
SMOOTH = 5  # logged iterations in a running mean


def training_curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss terms without their weights over iterations, one row a generator.

    Parameters
    ----------
    logs : mapping of generator to DataFrame
        From `training.curves.read_log`: columns iteration, term, value, phase.
    """
    size = (10.5, 2.1 * len(logs) + 0.4)
    fig, axes = plt.subplots(
        len(logs), len(PANELS), figsize=size, squeeze=False, layout="constrained"
    )
    for row, (name, log) in zip(axes, logs.items(), strict=True):
        for ax, (panel, terms) in zip(row, PANELS.items(), strict=True):
            for term in terms:
                part = log[log["term"] == term].set_index("iteration")["value"]
                if len(part):
                    colour = COLOURS.get(term, "0.35")
                    ax.plot(part.index, part, color=colour, lw=0.6, alpha=0.3)
                    ax.plot(part.rolling(SMOOTH, 1).mean(), color=colour, lw=1.4, label=term)
            for start in log["phase"].unique()[1:]:
                ax.axvline(start, color="0.8", lw=0.8, zorder=0)
            ax.set_title(f"{name}: {panel}", fontsize=10)
            ax.set_ylim(bottom=0)
        row[0].legend(fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("iteration")
    return fig
