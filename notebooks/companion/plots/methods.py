"""The two figures of the main table: who is left behind, and how sure that is."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from companion.plots.style import is_aef, method_colour, method_rows
from companion.studies.differences import ABOVE_NOTHING, RANDOM, REFERENCE
from companion.studies.judgement import OVER, SHARE

FLOOR = {"fc": "white", "ec": "0.72", "hatch": "////", "lw": 0}
PANELS = {  # what is drawn: measure and model of the table, and the axis' words
    "worst": (SHARE, "min", "worst generator's share\nof the single-model reference"),
    "mean": ("L2_mask", "mean", "mean L2_mask\nover generators"),
    "SSIM": ("SSIM", "", "SSIM of\nprotected photos"),
}


def share_map(numbers: pd.DataFrame) -> Figure:
    """Methods by generators: the share of the single-model reference above the floor.

    Hatched: not above random. The last column is the least of a method's shares and sorts the rows;
    methods that make a pattern for each photo stand apart, below.

    Parameters
    ----------
    numbers : DataFrame
        From `main_table.summary`.
    """
    order = ranking(numbers)
    share, low = (_wide(numbers, measure, "value" if measure == SHARE else "low").loc[order]
                  for measure in (SHARE, OVER))  # fmt: skip
    models = [m for m in share.columns if m != "min"]
    full = _wide(numbers, "L2_mask", "value").loc[REFERENCE]
    place = {m: j for j, m in enumerate(models)} | {"min": len(models) + 0.25}
    rows = _rows(order)
    paint = sns.light_palette("#22314a", as_cmap=True)
    fig, ax = plt.subplots(figsize=(1.12 * len(models) + 3.2, 0.38 * len(order) + 1.5))
    for method, y in rows.items():
        for model, x in place.items():
            _cell(ax, x, y, share.at[method, model], low.at[method, model] > 0, paint)
    names = [f"{m}\n{full[m]:.2g}" for m in models]
    ax.set_xticks(list(place.values()), [*names, "worst\nshare"])
    ax.xaxis.tick_top()
    method_rows(ax, list(rows.values()), order)
    ax.annotate("100 % is L2_mask", (0, 1), (-8, 5), xycoords="axes fraction", ha="right",
                textcoords="offset points", fontsize=8, color="0.45")  # fmt: skip
    ax.set(xlim=(-0.5, place["min"] + 0.5), ylim=(max(rows.values()) + 0.5, -0.5))
    ax.tick_params(length=0)
    sns.despine(ax=ax, left=True, bottom=True)
    ax.legend(handles=[Patch(label=ABOVE_NOTHING, **FLOOR)], loc="upper right", fontsize=8,
              bbox_to_anchor=(1, -0.01), handlelength=1.8, borderpad=0)  # fmt: skip
    return fig


def intervals(numbers: pd.DataFrame) -> Figure:
    """Worst share, strength and visibility with their 95 % intervals, a row a method.

    Hollow: one perturbation per photo. Grey lines: random signs, and the single-model references
    (dashed).

    Parameters
    ----------
    numbers : DataFrame
        From `main_table.summary`.
    """
    order = ranking(numbers)
    rows = _rows(order)
    fig, axes = plt.subplots(1, len(PANELS), figsize=(9.2, 0.32 * len(order) + 1.5), sharey=True)
    for ax, (measure, model, words) in zip(axes, PANELS.values(), strict=True):
        cells = numbers[(numbers["measure"] == measure) & (numbers["model"] == model)]
        cells = cells.set_index("method")
        for label, style in ((RANDOM, "-"), (REFERENCE, (0, (4, 3)))):
            level = 1.0 if (measure, label) == (SHARE, REFERENCE) else cells["value"].get(label)
            if level is not None:
                ax.axvline(level, color="0.75", lw=1.2, ls=style, zorder=0)
        for method, y in rows.items():
            _dot(ax, y, method, cells.loc[method])
        ax.set_xlabel(words)
        ax.grid(axis="y", color="0.94", lw=0.8)
        ax.tick_params(axis="y", length=0)
        sns.despine(ax=ax, left=True)
    axes[0].xaxis.set_major_formatter(PercentFormatter(1))
    method_rows(axes[0], list(rows.values()), order)
    axes[0].set_ylim(max(rows.values()) + 0.6, -0.6)
    lines = [
        plt.Line2D([], [], color="0.75", lw=1.2, ls=style, label=label)
        for label, style in (("random signs", "-"), (REFERENCE, (0, (4, 3))))
    ]
    fig.legend(handles=lines, loc="outside upper right", ncols=2, fontsize=8)
    return fig


def ranking(numbers: pd.DataFrame) -> list[str]:
    """Methods from the best worst share to the least, those that see the judged photo last.

    Random signs, the floor of every share, are left out.
    """
    worst = numbers[(numbers["measure"] == SHARE) & (numbers["model"] == "min")]
    worst = worst[worst["method"] != RANDOM].sort_values("value", ascending=False)["method"]
    return sorted(worst, key=_sees_the_photo)  # stable


def _sees_the_photo(method: str) -> bool:
    return method.endswith(" per image")


def _rows(order: list[str]) -> dict[str, float]:
    """Where each method's row stands, with air above those that see the judged photo."""
    return {m: i + 0.25 * _sees_the_photo(m) for i, m in enumerate(order)}


def _wide(numbers: pd.DataFrame, measure: str, values: str) -> pd.DataFrame:
    rows = numbers[numbers["measure"] == measure]
    wide = rows.pivot(index="method", columns="model", values=values)
    return wide[list(dict.fromkeys(rows["model"]))]


def _cell(ax: Axes, x: float, y: float, share: float, above: bool, paint: Colormap) -> None:
    box = (x - 0.48, y - 0.46), 0.96, 0.92
    if not above:
        ax.add_patch(Rectangle(*box, **FLOOR))
        return
    ax.add_patch(Rectangle(*box, fc=paint(float(np.clip(share, 0, 1))), lw=0))
    ax.text(x, y, f"{share:.0%}", ha="center", va="center", fontsize=9,
            color="white" if share > 0.45 else "0.15")  # fmt: skip


def _dot(ax: Axes, y: float, method: str, row: pd.Series) -> None:
    colour, aef = method_colour(method), is_aef(method)
    arms = [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]
    ax.errorbar(row["value"], y, xerr=arms, fmt="o", ms=8 if aef else 6, lw=2 if aef else 1.5,
                color=colour, mfc="white" if _sees_the_photo(method) else colour,
                zorder=4 if aef else 3)  # fmt: skip
