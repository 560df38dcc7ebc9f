"""Figures of timings: from tables of ratios and of growth to a matplotlib figure."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from companion.plots.style import SERIES_COLOURS, ink, method_rows


def ratio_dots(table: pd.DataFrame, xlabel: str, target: float | None = None) -> Figure:
    """One dot a ratio with the range over repetitions as its line; 1 and a target are marked.

    Parameters
    ----------
    table : DataFrame indexed by name, with columns value, low, high
    """
    fig, ax = plt.subplots(figsize=(6.4, 0.7 + 0.34 * len(table)))
    y = range(len(table))[::-1]
    colours = [ink(name) for name in table.index]
    digits = 2 if table["value"].max() - table["value"].min() > 0.05 else 4
    ax.hlines(y, table["low"], table["high"], colors=colours, lw=2.5, alpha=0.5)
    ax.scatter(table["value"], y, color=colours, zorder=3)
    for height, value, high in zip(y, table["value"], table["high"], strict=True):
        ax.annotate(f"{value:.{digits}f}", (max(value, high), height), xytext=(7, 0),
                    textcoords="offset points", va="center", fontsize=8,
                    bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    ax.axvline(1, color="0.6", lw=1)
    if target is not None:
        ax.axvline(target, color="0.3", lw=1, ls=(0, (4, 3)))
    method_rows(ax, y, table.index)
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xmargin(0.12)
    ax.set_xlabel(xlabel)
    return fig


def growth_curves(table: pd.DataFrame) -> Figure:
    """Seconds (top) and memory (bottom) of a step against each quantity that may grow."""
    axes_names = list(table["axis"].unique())
    fig, axes = plt.subplots(
        2, len(axes_names), figsize=(2.3 * len(axes_names) + 1, 4.2), sharey="row", squeeze=False
    )
    for column, name in zip(axes.T, axes_names, strict=True):
        part = table[table["axis"] == name]
        column[0].plot(part["value"], part["seconds"], "o-", color=SERIES_COLOURS[0], ms=4)
        for key, label, style, colour in (
            ("step_mb", "peak of a step", "o-", SERIES_COLOURS[0]),
            ("clean_mb", "clean outputs and features", "s--", SERIES_COLOURS[1]),
        ):
            column[1].plot(part["value"], part[key], style, ms=4, label=label, color=colour)
        column[1].set_xlabel(f"{name}, px" if name == "image size" else name)
    for ax in axes.flat:
        ax.set_ylim(0, None)
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("memory, MB")
    fig.legend(*axes[1, -1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
