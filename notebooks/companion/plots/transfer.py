"""Figures of transfer: what is left of a method where it had not looked."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from aef_core.plots import model_colours
from companion.plots.style import ink, method_rows


def _log(ax: Axes) -> None:
    """A logarithmic axis with a few plain labels, also where it spans less than a decade."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    wide = high / low > 30
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=6))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0e}".replace("e-0", "e-") if x else "0")
    ax.xaxis.set_minor_formatter(NullFormatter())
    if not wide:
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)


def in_and_out(shares: pd.DataFrame, floor: pd.Series, reference: pd.Series) -> Figure:
    """Per generator and method: interruption when optimised on (filled) and when left out (hollow).

    Parameters
    ----------
    shares : DataFrame
        From `transfer.shares_left`.
    floor, reference : Series of generator to L2_mask
        Of random patterns (dotted) and of the single-model reference (star).
    """
    methods, models = list(shares["method"].unique()), list(shares["model"].unique())
    rows, colours = np.arange(len(methods))[::-1], model_colours(models)
    size = (2.0 * len(models) + 1.8, 0.3 * len(methods) + 1.4)
    fig, axes = plt.subplots(1, len(models), figsize=size, sharey=True)
    for ax, model in zip(np.atleast_1d(axes), models, strict=True):
        part = shares[shares["model"] == model].set_index("method").loc[methods]
        colour = colours[model]
        ax.hlines(rows, part["outside"], part["inside"], color="0.8", lw=2, zorder=0)
        arms = np.clip([part["outside"] - part["low_out"], part["high_out"] - part["outside"]],
                       0, None)  # fmt: skip
        ax.errorbar(part["outside"], rows, xerr=arms, fmt="o", color=colour, mfc="white", lw=1,
                    capsize=2)  # fmt: skip
        ax.plot(part["inside"], rows, "o", color=colour)
        ax.plot(reference[model], len(methods), "*", color=colour, ms=10, clip_on=False)
        ax.axvline(floor[model], color="0.3", lw=1, ls=":")
        ax.set(title=model, xlabel="mean L2_mask", ylim=(-0.6, len(methods) + 0.3))
        _log(ax)
    first = np.atleast_1d(axes)[0]
    method_rows(first, [*rows, len(methods)], [*methods, "made for it alone"])
    marks = {"optimised on": {}, "left out": {"mfc": "white"}}
    shown = [Line2D([], [], marker="o", ls="", color="0.3", label=k, **v) for k, v in marks.items()]
    shown.append(Line2D([], [], color="0.3", lw=1, ls=":", label="random pattern"))
    fig.legend(handles=shown, loc="outside lower center", ncols=3)
    return fig


def over_floor(levels: pd.DataFrame) -> Figure:
    """Interruption of a generator that nobody optimised on, per method, with intervals.

    Parameters
    ----------
    levels : DataFrame
        From `transfer.unseen_levels`, one generator; methods in the order of the rows.
    """
    rows = np.arange(len(levels))[::-1]
    fig, ax = plt.subplots(figsize=(5.6, 0.34 * len(levels) + 0.9))
    arms = np.clip([levels["value"] - levels["low"], levels["high"] - levels["value"]], 0, None)
    for row, method, value, arm in zip(
        rows, levels["method"], levels["value"], arms.T, strict=True
    ):
        ax.errorbar(value, row, xerr=arm[:, None], fmt="o", color=ink(method), lw=1, capsize=2)
    method_rows(ax, rows, list(levels["method"]))
    ax.set_xlabel(f"mean L2_mask of the unseen {levels['model'].iloc[0]}")
    _log(ax)
    return fig


def evenness(balance: pd.DataFrame) -> Figure:
    """Worst generator, and worst over best, when optimised on (filled) and when left out (hollow).

    Parameters
    ----------
    balance : DataFrame
        From `transfer.balance_in_and_out`.
    """
    methods, roles = (list(balance.index.unique(level)) for level in ("method", "role"))
    rows = np.arange(len(methods))[::-1]
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 0.34 * len(methods) + 1.2), sharey=True)
    for ax, what in zip(axes, ("min", "worst / best"), strict=True):
        for role, lift in zip(roles, (0.12, -0.12), strict=True):
            part = balance.xs(role, level="role").loc[methods]
            value = part[what]
            arms = np.clip([value - part[f"{what}_low"], part[f"{what}_high"] - value], 0, None)
            for row, method, v, arm in zip(rows + lift, methods, value, arms.T, strict=True):
                ax.errorbar(v, row, xerr=arm[:, None], fmt="o", color=ink(method), lw=1, capsize=2,
                            mfc=ink(method) if role == roles[0] else "white",
                            label=role if row < 0.5 else None)  # fmt: skip
    axes[0].set_xlabel("L2_mask of the worst generator")
    _log(axes[0])
    axes[1].set(xlabel="L2_mask of the worst over the best")
    method_rows(axes[0], rows, methods)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
