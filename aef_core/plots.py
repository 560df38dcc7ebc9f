"""The figures of a run. matplotlib is imported when one is drawn."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aef_core.metrics.evaluation import SUCCESS_THRESHOLD
from aef_core.metrics.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, as in seaborn's "colorblind"
MODEL_COLOURS = {
    "StarGAN": "#0173b2", "AttentionGAN": "#029e73", "AttGAN": "#d55e00", "HiSD": "#de8f05",
}  # fmt: skip
OTHER_COLOURS = ("#56b4e9", "#7a3b00", "#e8c400", "#01553f", "#ca9161", "#023e8a")
METHOD_LABELS = {"uniform": "averaging", "grad-norm": "static\nnormalisation", "aef": "AEF"}


def weight_dynamics(history: pd.DataFrame) -> "Figure":
    """Interruption strength and weight of each generator over a `Run.history`, side by side."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), layout="constrained")
    labels = {"strength": "interruption strength S", "weight": "weight"}
    for ax, (column, label) in zip(axes, labels.items(), strict=True):
        model_lines(ax, history, column)
        ax.set(xlabel="step", ylabel=label)
    axes[1].set_ylim(0, 1)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)
    return fig


def balance_bars(table: pd.DataFrame) -> "Figure":
    """Mean L2_mask per generator and method, with 95 % intervals: even bars are balance.

    `table` from `evaluate`, or several of them with a column method; or from `intervals`.
    """
    import matplotlib.pyplot as plt

    means = table if "value" in table else intervals(table)
    methods, models = means["method"].unique(), means["model"].unique()
    colours = model_colours(models)
    fig, ax = plt.subplots(figsize=(1.2 + 1.9 * len(methods), 3.4), layout="constrained")
    width = 0.8 / len(models)
    for j, model in enumerate(models):
        part = means[means["model"] == model].set_index("method").loc[methods]
        x = np.arange(len(methods)) + (j - (len(models) - 1) / 2) * width
        errors = [part["value"] - part["low"], part["high"] - part["value"]]
        bars = ax.bar(x, part["value"], width * 0.92, color=colours[model], label=model,
                      yerr=errors, error_kw={"lw": 1, "capsize": 2})  # fmt: skip
        said = [f"{v:#.2g}".replace("0.", ".", 1) if v >= 1e-3 else "<.001" for v in part["value"]]
        ax.bar_label(bars, said, fontsize=7, padding=1, color="0.25")
    ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
    ax.annotate("inter-\nrupted", (1.01, SUCCESS_THRESHOLD), xycoords=("axes fraction", "data"),
                fontsize=8, color="0.3", va="center")  # fmt: skip
    ax.set_xticks(range(len(methods)), [METHOD_LABELS.get(m, m) for m in methods])
    ax.set_ylabel("mean L2_mask on unseen faces")
    ax.legend(ncols=len(models), loc="lower left", bbox_to_anchor=(0, 1.02), frameon=False)
    return fig


def model_colours(models: Iterable[str]) -> dict[str, str]:
    """A colour per generator: the zoo's four have their own, others take the next free one."""
    others = (m for m in dict.fromkeys(models) if m not in MODEL_COLOURS)
    return MODEL_COLOURS | {m: OTHER_COLOURS[i % 6] for i, m in enumerate(others)}


def model_lines(ax: "Axes", history: pd.DataFrame, column: str) -> None:
    """A column of a history over steps, a line per generator; a word where all lines coincide."""
    colours = model_colours(history["model"].unique())
    for model, part in history.groupby("model", sort=False):
        ax.plot(part["step"], part[column], color=colours[model], label=model, lw=1.6)
    values = history[column]
    if values.max() - values.min() < 1e-6:
        ax.annotate("all generators", (0.5, values.iloc[0]), (0, 4),
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                    ha="center", fontsize=8, color="0.3")  # fmt: skip
