"""Figures of CoRIT (notebook 14): collapse over the radius, GSNR over depth, the parts' gains."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion.plots.style import SERIES_COLOURS

CHANCE = 0.5
LINES = ("-", "--", ":")


def _radius_axis(ax: Axes, radii: np.ndarray) -> None:
    """A logarithmic axis on which 0 has a place, at the left."""
    positive = radii[radii > 0]
    ax.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
    ax.set_xticks(radii, [f"{r:g}" * (i % 2 == 0) for i, r in enumerate(radii)])  # room to read
    ax.minorticks_off()
    ax.set_xlabel("radius of SAM, rho")


def collapse(runs: pd.DataFrame) -> Figure:
    """Validation AUC (top) and late train loss over the radius, one column an encoder.

    Parameters
    ----------
    runs : DataFrame
        From `study.collapse_runs`; seeds are averaged, their range is shaded.
    """
    encoders = list(runs["encoder"].unique())
    fig, axes = plt.subplots(
        2, len(encoders), figsize=(2.9 * len(encoders) + 1.6, 4.6), squeeze=False,
        sharex=True, sharey="row",
    )  # fmt: skip
    chances = (
        ("auc", CHANCE, "validation AUC"),
        ("train_loss", np.log(2), "late train loss, nats"),
    )
    for column, encoder in enumerate(encoders):
        part = runs[runs["encoder"] == encoder]
        for row, (measure, chance, label) in enumerate(chances):
            ax = axes[row, column]
            tasks = part.groupby("task", sort=False)
            for (task, one), colour in zip(tasks, SERIES_COLOURS, strict=False):
                values = one.groupby("rho")[measure].agg(["mean", "min", "max"])
                ax.plot(values.index, values["mean"], "o-", ms=4, label=task, color=colour)
                ax.fill_between(values.index, values["min"], values["max"], alpha=0.15,
                                color=colour, lw=0)  # fmt: skip
            ax.axhline(chance, color="0.3", lw=1, ls=(0, (4, 3)))
            if column == len(encoders) - 1:
                ax.annotate("chance", (1.02, chance), xycoords=("axes fraction", "data"),
                            fontsize=8, color="0.3", va="center")  # fmt: skip
            axes[row, 0].set_ylabel(label)
        axes[0, column].set_title(encoder)
        _radius_axis(axes[1, column], np.sort(runs["rho"].unique()))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def depth(blocks: pd.DataFrame) -> Figure:
    """GSNR of every block, one panel an encoder, one line a task.

    Parameters
    ----------
    blocks : DataFrame
        Columns encoder, task, block ("block 1" ...), gsnr.
    """
    encoders = list(blocks["encoder"].unique())
    fig, axes = plt.subplots(
        1, len(encoders), figsize=(2.9 * len(encoders) + 1.6, 2.8), squeeze=False, sharey=True
    )
    for ax, encoder in zip(axes[0], encoders, strict=True):
        part = blocks[blocks["encoder"] == encoder]
        looks = zip(part.groupby("task", sort=False), SERIES_COLOURS, LINES, strict=False)
        for (task, one), colour, line in looks:
            numbers = one["block"].str.removeprefix("block ").astype(int)
            ax.plot(numbers, one["gsnr"], "o", ls=line, ms=4, label=task, color=colour)
        ax.set(title=encoder, xlabel="block", xticks=numbers[::2])
    axes[0, 0].set_ylabel("GSNR, noise taken off")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
