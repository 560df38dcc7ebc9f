"""Figures of the classifier ensemble of notebook 11."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from aef_core.plots import model_colours
from companion.plots.style import ink, method_label, method_rows


def success_by_rule(success: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Share of decisions flipped per rule: every classifier, and the worst with its interval.

    Parameters
    ----------
    success : DataFrame
        From `other_targets.success`; rules are drawn in the order of their worst classifier.
    models : sequence of str
    """
    wide = success.pivot(index="method", columns="model", values="value").sort_values("min")
    worst = success[success["model"] == "min"].set_index("method").loc[wide.index]
    rows, colours = np.arange(len(wide)), model_colours(models)
    fig, ax = plt.subplots(figsize=(7.2, 0.27 * len(wide) + 1.0))
    ax.hlines(rows, wide[list(models)].min(axis=1), wide[list(models)].max(axis=1), color="0.85",
              lw=3, zorder=0)  # fmt: skip
    for model in models:
        ax.plot(wide[model], rows, "o", color=colours[model], ms=6, label=model)
    arms = np.clip([worst["value"] - worst["low"], worst["high"] - worst["value"]], 0, None)
    ax.errorbar(worst["value"], rows, xerr=arms, fmt="|", color="0.2", lw=1, capsize=3,
                label="worst, 95 %")  # fmt: skip
    method_rows(ax, rows, wide.index)
    ax.set(xlabel="share of decisions flipped on unseen faces", xlim=(0, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def weights_over_time(histories: Mapping[str, pd.DataFrame], models: Sequence[str]) -> Figure:
    """Weight (top) and strength (bottom) of each classifier per step, one column a rule."""
    colours = model_colours(models)
    fig, axes = plt.subplots(
        2, len(histories), figsize=(1.9 * len(histories) + 1.5, 4.0), sharex=True, sharey="row",
        squeeze=False,
    )  # fmt: skip
    for column, (title, history) in zip(axes.T, histories.items(), strict=True):
        for ax, what in zip(column, ("weight", "strength"), strict=True):
            for model, part in history.groupby("model", sort=False):
                ax.plot(part["step"], part[what], color=colours[model], label=model, lw=1.2)
        column[0].set_title(method_label(title).replace(" norm", "\nnorm"))
        column[1].set(xlabel="step")
    axes[0, 0].set(ylabel="weight", ylim=(0, 1))
    axes[1, 0].set(ylabel="strength S (doubt)", ylim=(0, None))
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def gain_dots(gains: pd.DataFrame) -> Figure:
    """Difference to a baseline per rule, with intervals; grey where the interval holds zero.

    Parameters
    ----------
    gains : DataFrame
        From `other_targets.against`.
    """
    part = gains.sort_values("value")
    rows = np.arange(len(part))
    fig, ax = plt.subplots(figsize=(6.0, 0.25 * len(part) + 1.0))
    for row, (method, gain) in zip(rows, part.iterrows(), strict=True):
        clear = not gain["low"] <= 0 <= gain["high"]
        arms = [[max(0, gain["value"] - gain["low"])], [max(0, gain["high"] - gain["value"])]]
        ax.errorbar(gain["value"], row, xerr=arms, fmt="o", lw=1, capsize=2,
                    color=ink(method) if clear else "0.7")  # fmt: skip
    ax.axvline(0, color="0.3", lw=1, ls=":")
    method_rows(ax, rows, part.index)
    ax.set_xlabel("share flipped on the worst classifier, minus averaging's")
    return fig
