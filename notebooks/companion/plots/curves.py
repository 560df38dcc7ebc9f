"""The figure of notebook 09: how fragile each generator is, and was along its training."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from aef_core.metrics import SUCCESS_THRESHOLD
from aef_core.plots import model_colours
from companion.studies.curves import ALONG, RANDOM_SIGNS, SHIPPED


def forest(rows: pd.DataFrame) -> Figure:
    """L2_mask of single-model perturbations, logarithmic: shipped generators, then checkpoints.

    Parameters
    ----------
    rows : DataFrame
        As of `studies.curves.forest`: a shipped generator is a dot with its interval and a grey
        diamond for random signs, a checkpoint a small dot, the darker the later.
    """
    colours = model_colours(rows["model"])
    shipped = rows[rows["kind"] == SHIPPED]
    floor = rows[rows["kind"] == RANDOM_SIGNS].set_index("model")["L2_mask"]
    along = rows[rows["kind"] == ALONG].groupby(["model", "arm"], sort=False)
    names = list(shipped["model"]) + [f"{model}, {arm}" for model, arm in along.groups]
    split = len(shipped)  # where the checkpoints begin, with air before them
    places = [y + 0.9 * (y >= split) for y in range(len(names))]
    fig, ax = plt.subplots(figsize=(7.2, 0.36 * len(names) + 1.9))
    for y, row in zip(places, shipped.itertuples(), strict=False):
        arms = [[max(0.0, row.L2_mask - row.low)], [max(0.0, row.high - row.L2_mask)]]
        ax.errorbar(row.L2_mask, y, xerr=arms, fmt="o", ms=7, lw=2, color=colours[row.model])
        ax.plot(floor[row.model], y, "D", ms=5, color="0.7")
    for y, ((model, _), part) in zip(places[split:], along, strict=True):
        _checkpoints(ax, y, part, colours[model])
    ax.axvline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)), zorder=0)
    ax.annotate("interrupted", (SUCCESS_THRESHOLD, 1), (3, 2), fontsize=8, color="0.3",
                xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    for y, title in zip((places[0], *places[split : split + 1]), (SHIPPED, ALONG), strict=False):
        ax.annotate(title, (0, y - 0.62), (-4, 0), xycoords=("axes fraction", "data"), ha="right",
                    va="center", textcoords="offset points", fontsize=9,
                    fontweight="bold")  # fmt: skip
    ax.set_yticks(places, names)
    ax.set(xscale="log", ylim=(places[-1] + 0.6, -0.95),
           xlabel="L2_mask of a perturbation made for this generator alone")  # fmt: skip
    ax.plot([], [], "D", ms=5, color="0.7", label="random signs")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8, borderpad=0)
    ax.grid(axis="y", color="0.94", lw=0.8)
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)
    return fig


def _checkpoints(ax: Axes, y: float, part: pd.DataFrame, colour: str) -> None:
    """One training on one line: paler dots are earlier, the last has its number of images."""
    shades = [to_rgba(colour, 0.25 + 0.75 * (i + 1) / len(part)) for i in range(len(part))]
    ax.plot(part["L2_mask"], [y] * len(part), "-", lw=1, color=colour, alpha=0.3, zorder=1)
    ax.scatter(part["L2_mask"], [y] * len(part), s=26, lw=0, color=shades, zorder=3)
    last = part.iloc[-1]
    ax.annotate(f"{last['images']:,.0f} images", (1.02, y), xycoords=("axes fraction", "data"),
                va="center", fontsize=8, color="0.4")  # fmt: skip
