"""Figures of the main table: strength against balance, and against the eye."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from aef_core.metrics import SUCCESS_THRESHOLD
from companion.plots.style import is_aef, method_colour, method_label, threshold_line
from companion.studies.differences import REFERENCE

AXES = {
    "mean": "mean L2_mask over generators (strength)",
    "min": "L2_mask of the worst generator",
    "spread": "spread: best minus worst generator",
    "SSIM": "SSIM of protected photos",
}
MARKERS = "oDs^"


def strength_and_balance(numbers: pd.DataFrame, threshold: float = SUCCESS_THRESHOLD) -> Figure:
    """Left: the worst generator against the mean; right: the same against SSIM.

    Parameters
    ----------
    numbers : DataFrame
        From `main_table.summary`. Per-image methods are hollow, single-model references a star.
    threshold : float
        The line above which an image counts as interrupted; drawn where it is within reach.

    Notes
    -----
    Strengths are on logarithmic axes: methods differ by factors. A method that reaches nothing at
    all has no place there and is left out.
    """
    methods = [
        m for m in dict.fromkeys(numbers["method"]) if _place(numbers, m, "min")["value"] > 0
    ]
    # marker and colour both differ from neighbours
    looks = {m: (MARKERS[i % len(MARKERS)], method_colour(m)) for i, m in enumerate(methods)}
    looks |= {m: ("*", method_colour(m)) for m in methods if m == REFERENCE}
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 4.2), sharey=True)
    for ax, x in zip(axes, ("mean", "SSIM"), strict=True):
        for method in methods:
            across, up = _place(numbers, method, x), _place(numbers, method, "min")
            hollow = "per image" in method
            (marker, colour), aef = looks[method], is_aef(method)
            ax.errorbar(
                across["value"], up["value"], xerr=_arms(across), yerr=_arms(up), color=colour,
                fmt=marker, ms=13 if marker == "*" else 10 if aef else 7, zorder=4 if aef else 3,
                mfc="white" if hollow else colour, lw=1, capsize=2,
                label=method_label(method),
            )  # fmt: skip
        ax.set_xlabel(AXES[x])
    axes[0].set(xscale="log", yscale="log", ylabel=AXES["min"])
    (left, right), (low, high) = axes[0].get_xlim(), axes[0].get_ylim()
    if threshold < 1.5 * high:
        for ax in axes:
            threshold_line(ax, threshold)
    axes[0].plot([low, right], [low, right], color="0.7", lw=1, zorder=0)
    axes[0].annotate("grey line: all generators alike", (0.03, 0.97), xycoords="axes fraction",
                     color="0.4", fontsize=8, va="top")  # fmt: skip
    axes[0].set(xlim=(left, right), ylim=(low, max(high, min(threshold * 1.2, 1.8 * high))))
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig


def _place(numbers: pd.DataFrame, method: str, what: str) -> pd.Series:
    wanted = ("SSIM", "") if what == "SSIM" else ("L2_mask", what)
    rows = numbers[(numbers["method"] == method) & (numbers["measure"] == wanted[0])]
    return rows[rows["model"] == wanted[1]].iloc[0]


def _arms(row: pd.Series) -> list[list[float]]:
    return [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]
