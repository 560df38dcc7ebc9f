"""Figures of what a perturbation survives (notebook 07) and why a generator resists (08)."""

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from aef_core.metrics import SUCCESS_THRESHOLD
from aef_core.plots import model_colours
from companion.plots.style import method_colour, method_label, threshold_line

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
QUANTITIES = {
    "gradient of a face": "mean |dS / dpixel|\nof a face",
    "share left": "share of it left\nin the mean of faces",
    "gsnr": "signal / noise\n(median GSNR)",
    "sign agreement": "share of pixels whose\nsign a batch gets right",
}


def survival_map(table: pd.DataFrame, reference: str = "8-bit") -> Figure:
    """What share of the interruption of the published photo is left, one panel a perturbation.

    Grey cells: the published photo does not interrupt that generator, so nothing can be lost.

    Parameters
    ----------
    table : DataFrame
        From `robustness.survival`.
    reference : str
        The transformation that counts as 100 %.
    """
    methods = list(table["method"].unique())
    fig, axes = plt.subplots(
        1, len(methods), figsize=(2.9 * len(methods) + 1.5, 4.0), squeeze=False, sharey=True
    )
    unmoved = False
    for ax, method in zip(axes[0], methods, strict=True):
        part = table[table["method"] == method]
        shares = shares_left(part, reference).drop(index=reference)
        published = part[part["transform"] == reference].set_index("model")["l2_mask"]
        moved = published[shares.columns] > SUCCESS_THRESHOLD
        unmoved |= not moved.all()
        last = ax is axes[0, -1]
        sns.heatmap(
            shares.where(moved, axis=1), ax=ax, vmin=0, vmax=1.2, cmap="crest_r", annot=True,
            fmt=".0%", cbar=last, linewidths=1, annot_kws={"fontsize": 8},
            cbar_kws={"format": PercentFormatter(1), "label": "L2_mask left"} if last else None,
        )  # fmt: skip
        for i, j in product(range(len(shares)), np.flatnonzero(~moved)):
            ax.add_patch(Rectangle((j, i), 1, 1, fc="0.93", ec="white"))
            ax.text(j + 0.5, i + 0.5, f"{shares.iat[i, j]:.0%}", fontsize=8, color="0.55",
                    ha="center", va="center")  # fmt: skip
        ax.set(title=method_label(method), xlabel="", ylabel="")
        ax.tick_params(length=0)
        plt.setp(ax.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    if unmoved:
        fig.supxlabel("grey: not interrupted to begin with", fontsize=9, color="0.4")
    return fig


def shares_left(table: pd.DataFrame, reference: str = "8-bit") -> pd.DataFrame:
    """Mean L2_mask relative to the reference, transformations by generators, for one method."""
    levels = table.pivot(index="transform", columns="model", values="l2_mask")
    order = table["transform"].unique(), table["model"].unique()
    return levels.div(levels.loc[reference], axis=1).loc[order[0], order[1]]


def subtraction(table: pd.DataFrame) -> Figure:
    """Interruption left, and how alike the attacker's estimate is, over the photos collected.

    Faint: a generator that was not interrupted to begin with.

    Parameters
    ----------
    table : DataFrame
        From `attackers.subtraction_attack`.
    """
    colours = model_colours(table["model"])
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.0))
    for model, part in table.groupby("model", sort=False):
        start = part.loc[part["n"] == 0, "l2_mask"].item()
        moved = start > SUCCESS_THRESHOLD
        left.plot(part["n"] + 1, part["l2_mask"] / start, "o-" if moved else "o:", ms=4,
                  color=colours[model], alpha=1 if moved else 0.4,
                  label=model if moved else f"{model}, not interrupted")  # fmt: skip
    cosine = table[table["n"] > 0].groupby("n")["cosine"].first()
    right.plot(cosine.index + 1, cosine, "o-", color="0.3", ms=4)
    ticks = sorted(table["n"].unique())
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks([n + 1 for n in ticks], [str(n) for n in ticks])
        ax.minorticks_off()
        ax.set(xlabel="protected photos collected", ylim=(0, None))
    left.set_ylabel("L2_mask left after subtraction")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    right.set(ylabel="cosine of estimate\nand perturbation", ylim=(0, 1))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def predictors(table: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """One small panel a quantity, one dot a generator; logarithmic where they are far apart.

    Parameters
    ----------
    table : DataFrame indexed by generator
    """
    fig, axes = plt.subplots(1, len(columns), figsize=(2.0 * len(columns) + 0.6, 2.7))
    for ax, column in zip(np.atleast_1d(axes), columns, strict=True):
        values = table[column]
        colours = model_colours(values.index)
        ax.scatter(range(len(values)), values, s=55, color=[colours[m] for m in values.index])
        ax.set_xticks(range(len(values)), values.index, rotation=45, ha="right", fontsize=8,
                      rotation_mode="anchor")  # fmt: skip
        ax.set(title=QUANTITIES.get(column, column), xlim=(-0.5, len(values) - 0.5))
        ax.title.set(fontsize=9, fontweight="normal")
        if 0 < 10 * values.min() < values.max():  # orders of magnitude apart
            ax.set_yscale("log")
        else:
            ax.set_ylim(min(0, 1.1 * values.min()), 1.1 * max(0, values.max()))
    return fig


def radius(sweep: pd.DataFrame) -> Figure:
    """Interruption (left), weight (middle) and saturation and evenness (right) over the bound eps.

    Parameters
    ----------
    sweep : DataFrame
        From `visibility.radii`.
    """
    colours = model_colours(sweep["model"])
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 3.2))
    for model, part in sweep.groupby("model", sort=False):
        colour = colours[model]
        left.plot(part["eps"], part["l2_mask"], "o-", color=colour, label=model, ms=4)
        middle.plot(part["eps"], part["weight"], "o-", color=colour, ms=4)
    threshold_line(left)
    levels = sweep.groupby("eps")["l2_mask"]
    even = levels.min() / levels.max()
    full = sweep.groupby("eps")["saturation"].first()
    right.plot(even.index, even, "o-", color="0.2", label="worst / best", ms=4)
    right.plot(full.index, full, "s--", color="0.55", label="pixels at the bound", ms=4)
    ticks = sorted(sweep["eps"].unique())
    for ax in (left, middle, right):
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{e:g}" for e in ticks])
        ax.minorticks_off()
        ax.set_xlabel("bound eps, of pixels in [-1, 1]")
    left.set(ylabel="mean L2_mask on unseen faces", yscale="log")
    middle.set(ylabel="weight, last quarter", ylim=(0, 1))
    right.set(ylabel="share", ylim=(0, 1))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=1, borderpad=0)
    return fig


def budget_plane(rows: pd.DataFrame) -> Figure:
    """Worst generator (left) and evenness (right) against how visible the perturbation is.

    Colour is the rule, the mark is the budget.

    Parameters
    ----------
    rows : DataFrame
        From `visibility.trade_off`.
    """
    table = rows.reset_index()
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
    methods, budgets = table["method"].unique(), table["budget"].unique()
    mark = dict(zip(budgets, MARKERS, strict=False))
    for ax, column in zip(axes, ("min", "worst / best"), strict=True):
        for row in table.itertuples():
            ax.scatter(row.ssim, table.loc[row.Index, column], marker=mark[row.budget], s=55,
                       color=method_colour(row.method))  # fmt: skip
        ax.set_xlabel("SSIM of the published photo")
        ax.set_ylim(0, 1.1 * table[column].max())
    axes[0].set_ylabel("worst generator's L2_mask")
    axes[1].set_ylabel("worst / best L2_mask")
    entries = [
        axes[1].scatter([], [], color=method_colour(m), marker="o", label=method_label(m))
        for m in methods
    ]
    entries += [axes[1].scatter([], [], color="k", marker=mark[b], label=b) for b in budgets]
    axes[1].legend(handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig
