"""Figures of notebook 09: training with and without the cycle, and what the cycle hides."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aef_core.metrics import SUCCESS_THRESHOLD
from companion.plots.style import MODEL_COLOURS

ARM_COLOURS = {
    "start": "0.3",
    "identity": "#0173b2",
    "cycle": "#d55e00",
    "neither": "#cc78bc",
    "both": "#029e73",
    "cycle / 4": "#ece133",
    "cycle x 4": "#ca9161",
}


def growth(rows: pd.DataFrame) -> Figure:
    """Fragility over training time (top) and over edit success (bottom), a column an architecture.

    One line a seed and arm; bars are 95 % intervals over images.

    Parameters
    ----------
    rows : DataFrame
        From `cycle.checkpoints`.
    """
    names = list(rows["architecture"].unique())
    fig, axes = plt.subplots(
        2, len(names), figsize=(3.1 * len(names) + 1.6, 5.2), squeeze=False, sharey=True
    )
    for column, name in zip(axes.T, names, strict=True):
        part = rows[rows["architecture"] == name]
        for (seed, arm), line in part[part["arm"] != "start"].groupby(["seed", "arm"], sort=False):
            begun = part[(part["arm"] == "start") & (part["seed"] == seed)]
            line = pd.concat([begun, line]).sort_values("iteration")
            bars = np.abs(line[["low", "high"]].to_numpy().T - line["l2_mask"].to_numpy())
            for ax, x in zip(column, ("iteration", "success"), strict=True):
                ax.errorbar(line[x], line["l2_mask"], bars, fmt="o-", ms=4, lw=1.3, elinewidth=0.9,
                            color=ARM_COLOURS[arm], label=arm if seed == 0 else None)  # fmt: skip
        for ax, x in zip(column, ("iterations", "edit success"), strict=True):
            ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
            ax.set(yscale="log", xlabel=x)
        column[0].set_title(name)
    for ax in axes[:, 0]:
        ax.set_ylabel("L2_mask of the single-model reference")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def ways_back(table: pd.DataFrame) -> Figure:
    """Error that a damage adds to the way back from a forgery, beside that of a damaged photo.

    Parameters
    ----------
    table : DataFrame
        From `cycle.growth_of_ways_back` or `trained_ways_back`.
    """
    shown = table[table["damage"] != "none"]
    names = list(shown["panel"].unique())
    wide = min(4, len(names))
    high = -(-len(names) // wide)
    fig, axes = plt.subplots(high, wide, figsize=(2.3 * wide + 1, 2.2 * high + 0.9), sharex=True,
                             sharey=True, squeeze=False)  # fmt: skip
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax in axes.flat[max(0, len(names) - wide) : len(names)]:
        ax.tick_params(labelbottom=True)  # nothing below would say what the bars are
    for ax, name in zip(axes.flat, names, strict=False):
        part = shown[shown["panel"] == name]
        settings = list(dict.fromkeys(zip(part["damage"], part["level"], strict=True)))
        for shift, (of, colour) in zip((-0.2, 0.2), (("forgery", "#d55e00"), ("photo", "0.6")),
                                       strict=True):  # fmt: skip
            values = part[part["of"] == of]["added"]
            places = np.arange(len(settings)) + shift
            ax.bar(places, values, 0.38, color=colour, label=f"damaged {of}")
        labels = [f"{kind} {level:g}" for kind, level in settings]
        ax.set_xticks(range(len(settings)), labels, rotation=60, ha="right", fontsize=8)
        ax.axhline(0, color="0.3", lw=0.8)
        ax.set_title(name)
    fig.supylabel("added error of the way back", fontsize="medium")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def spectrum(table: pd.DataFrame) -> Figure:
    """Share of a perturbation's power per octave of spatial frequency, one line per generator.

    Parameters
    ----------
    table : DataFrame
        From `cycle.spectra`.
    """
    fig, ax = plt.subplots(figsize=(5.6, 3.0))
    bands = table[["low", "high"]].drop_duplicates()
    for model, part in table.groupby("model", sort=False):
        known = model in MODEL_COLOURS
        ax.plot(range(len(part)), part["share"], "o-" if known else "--", ms=4, label=model,
                color=MODEL_COLOURS.get(model, "0.6"))  # fmt: skip
    names = [f"{_fraction(low)} to {_fraction(high)}" for low, high in bands.to_numpy()]
    ax.set_xticks(range(len(names)), names, fontsize=8)
    ax.set(xlabel="spatial frequency, cycles per pixel", ylabel="share of power", ylim=(0, None))
    ax.legend()
    return fig


def _fraction(frequency: float) -> str:
    if frequency == 0:
        return "0"
    return "finest" if frequency >= 1 else f"1/{round(1 / frequency)}"


def smoothing(table: pd.DataFrame) -> Figure:
    """L2_mask against the cutoff of a forger who smooths first; dashed: the defender is unaware.

    Parameters
    ----------
    table : DataFrame
        From `cycle.smoothing_forger`.
    """
    fig, ax = plt.subplots(figsize=(5.6, 3.2))
    cutoffs = sorted(table["cutoff"].unique(), reverse=True)
    place = {cutoff: i for i, cutoff in enumerate(cutoffs)}
    for model, part in table.groupby("model", sort=False):
        plain = part[part["cutoff"].map(math.isinf)]
        for defender, style in (("aware", "o-"), ("unaware", "s--")):
            line = part[(part["defender"] == defender) & ~part["cutoff"].map(math.isinf)]
            line = pd.concat([plain, line])
            label = model if defender == "aware" else None
            x, colour = line["cutoff"].map(place), MODEL_COLOURS[model]
            ax.plot(x, line["l2_mask"], style, ms=4, color=colour, label=label)
    ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
    names = ["no filter" if math.isinf(c) else f"{c:g}" for c in cutoffs]
    ax.set_xticks(range(len(names)), names)
    ax.set(yscale="log", xlabel="cutoff of the forger's filter, cycles per pixel",
           ylabel="mean L2_mask")  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
