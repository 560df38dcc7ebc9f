"""Figures of notebook 13: gradients that conflict, and what each arm tells apart."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.plots.style import SERIES_COLOURS

PAIRS = {
    "between": "two kinds of fakes",
    "within original": "original alone (null)",
    "within synthesised": "synthesised alone (null)",
}


def conflict(probes: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """Cosines of gradients along joint training, and how often they are negative.

    Parameters
    ----------
    probes : DataFrame with columns step, pair, cosine
    rates : DataFrame indexed by pair with value, low, high
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 2.9), width_ratios=(3, 2))
    colours = dict(zip(PAIRS, SERIES_COLOURS, strict=True))
    for pair, part in probes.groupby("pair", sort=False):
        mean = part.groupby("step")["cosine"].mean()
        left.plot(part["step"], part["cosine"], ".", ms=3, alpha=0.4, color=colours[pair])
        left.plot(mean.index, mean, lw=1.6, color=colours[pair])
    left.axhline(0, color="0.3", lw=1, ls=(0, (4, 3)))
    left.set(xlabel="step of the joint arm", ylabel="cosine of two gradients", ylim=(-1.05, 1.05))
    rates = rates.loc[list(PAIRS)]
    errors = np.abs(rates[["low", "high"]].to_numpy().T - rates["value"].to_numpy())
    for row, (pair, value) in enumerate(rates["value"].items()):
        right.errorbar(value, row, xerr=errors[:, [row]], fmt="o", ms=7, color=colours[pair],
                       lw=1.4, capsize=3)  # fmt: skip
    right.set_yticks(range(3), [PAIRS[p].replace(" (", "\n(") for p in rates.index])
    for text, colour in zip(right.get_yticklabels(), colours.values(), strict=True):
        text.set(color=colour, fontweight="bold")  # also the legend of the left panel
    right.set(xlabel="share of steps in conflict (cosine < 0)", xlim=(-0.03, 1), ylim=(-0.6, 2.6))
    right.invert_yaxis()
    return fig


def arms(rows: pd.DataFrame) -> Figure:
    """AUC of every arm on every test, with intervals; dashed: the joint arm, dotted: chance.

    `rows` is indexed by arm and test, with columns auc, auc low, auc high.
    """
    tests = list(rows.index.unique("test"))
    names = list(rows.index.unique("arm"))
    fig, axes = plt.subplots(1, len(tests), figsize=(2.3 * len(tests) + 1.4, 0.24 * len(names) + 1),
                             sharey=True, squeeze=False)  # fmt: skip
    for ax, test in zip(axes[0], tests, strict=True):
        part = rows.xs(test, level="test").loc[names]
        errors = [part["auc"] - part["auc low"], part["auc high"] - part["auc"]]
        ax.errorbar(part["auc"], range(len(names)), xerr=errors, fmt="o", ms=4, lw=1, capsize=2,
                    color=SERIES_COLOURS[0])  # fmt: skip
        ax.axvline(0.5, color="0.6", lw=1, ls=":")
        ax.axvline(part.loc["joint", "auc"], color="0.6", lw=1, ls=(0, (4, 3)))
        ax.set(title=test, xlabel="AUC")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return fig
