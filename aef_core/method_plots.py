"""Figures of the main table: strength against balance, and against the eye."""

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

AXES = {
    "mean": "mean L2_mask over generators (strength)",
    "min": "L2_mask of the worst generator",
    "spread": "spread: best minus worst generator",
    "SSIM": "SSIM of protected photos",
}


def strength_and_balance(numbers: pd.DataFrame, threshold: float = 0.05) -> Figure:
    """Left: the worst generator against the mean; right: the same against SSIM.

    Parameters
    ----------
    numbers : DataFrame
        From `main_table.summary`. Per-image methods are hollow, specialists a star.
    threshold : float
        The line above which an image counts as interrupted.
    """
    methods = list(dict.fromkeys(numbers["method"]))
    colours = dict(zip(methods, sns.color_palette("husl", len(methods)), strict=True))
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 4.2), sharey=True)
    for ax, x in zip(axes, ("mean", "SSIM"), strict=True):
        for method in methods:
            across, up = _place(numbers, method, x), _place(numbers, method, "min")
            hollow = "per image" in method
            marker = "*" if method == "specialists" else "o"
            ax.errorbar(
                across["value"], up["value"], xerr=_arms(across), yerr=_arms(up), fmt=marker,
                color=colours[method], mfc="white" if hollow else colours[method],
                ms=11 if marker == "*" else 7, lw=1, capsize=2, label=method,
            )  # fmt: skip
        ax.axhline(threshold, color="0.3", lw=1, ls=(0, (4, 3)))
        ax.set_xlabel(AXES[x])
    low, high = axes[0].get_xlim()
    axes[0].plot([low, high], [low, high], color="0.7", lw=1, zorder=0)
    axes[0].set(xlim=(low, high), ylabel=AXES["min"])
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig


def _place(numbers: pd.DataFrame, method: str, what: str) -> pd.Series:
    wanted = ("SSIM", "") if what == "SSIM" else ("L2_mask", what)
    rows = numbers[(numbers["method"] == method) & (numbers["measure"] == wanted[0])]
    return rows[rows["model"] == wanted[1]].iloc[0]


def _arms(row: pd.Series) -> list[list[float]]:
    return [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]
