"""Figures of timings: from tables of ratios and of growth to a matplotlib figure."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from companion.plots.style import METHOD_COLOURS


def ratio_dots(table: pd.DataFrame, xlabel: str, target: float | None = None) -> Figure:
    """One dot a ratio with the range over repetitions as its line; 1 and a target are marked.

    Parameters
    ----------
    table : DataFrame indexed by name, with columns value, low, high
    """
    fig, ax = plt.subplots(figsize=(6.4, 0.7 + 0.34 * len(table)))
    y = range(len(table))[::-1]
    ax.hlines(y, table["low"], table["high"], color=METHOD_COLOURS["aef"], lw=2.5, alpha=0.5)
    ax.plot(table["value"], y, "o", color=METHOD_COLOURS["aef"])
    for height, value in zip(y, table["value"], strict=True):
        ax.annotate(f"{value:.2f}", (value, height), xytext=(0, 6), textcoords="offset points",
                    ha="center", fontsize=8)  # fmt: skip
    ax.axvline(1, color="0.6", lw=1)
    if target is not None:
        ax.axvline(target, color="0.3", lw=1, ls=(0, (4, 3)))
    ax.set_yticks(y, table.index)
    ax.set_ylim(-0.6, len(table) - 0.2)
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
        column[0].plot(part["value"], part["seconds"], "o-", color=METHOD_COLOURS["aef"], ms=4)
        for key, label, style in (("step_mb", "peak of a step", "o-"),
                                  ("clean_mb", "clean outputs and features", "s--")):  # fmt: skip
            column[1].plot(part["value"], part[key], style, ms=4, label=label)
        column[1].set_xlabel(name)
    for ax in axes.flat:
        ax.set_ylim(0, None)
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("MB")
    axes[1, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
