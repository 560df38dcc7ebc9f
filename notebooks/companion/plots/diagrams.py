"""The paper's two schematic figures, drawn from code: the strategies, and the framework's loop.

They show ideas, no data; lengths of bars and widths of arrows are illustrations.
"""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from companion.plots.style import METHOD_COLOURS, MODEL_COLOURS, OWN_LAYOUT

INK, QUIET = "0.15", "0.5"
SERIF = {"mathtext.fontset": "stix"}
Point = tuple[float, float]


def strategies() -> Figure:
    """Fig. 1: fixed weights let the susceptible generator win; live weights seek an equilibrium."""
    # outside the context: it would undo what a notebook's backend switches on at its first figure
    fig, axes = plt.subplots(1, 2, figsize=(10.2, 3.7), layout=OWN_LAYOUT)
    with mpl.rc_context(SERIF):
        fig.subplots_adjust(0.005, 0.01, 0.995, 0.99, wspace=0.03)
        _strategy(
            axes[0], "(a) averaging, static normalisation", "weights fixed in advance",
            weights=(0.25, 0.25, 0.25, 0.25), reached=(0.96, 0.42, 0.16, 0.3), back=QUIET,
            rule=r"$g=\sum_k w_k\,g_k,\quad w_k\ \mathrm{fixed}$", end="imbalance",
        )  # fmt: skip
        _strategy(
            axes[1], "(b) adaptive equilibrium (AEF)", "weights follow the losses",
            weights=(0.05, 0.2, 0.5, 0.25), reached=(0.58, 0.55, 0.5, 0.54),
            back=METHOD_COLOURS["aef"],
            rule=r"$w=\mathrm{softmax}(-E/\tau),\quad g=\sum_k w_k\,g_k$", end="equilibrium",
        )  # fmt: skip
    return fig


def _strategy(
    ax: Axes, title: str, subtitle: str, weights: Sequence[float], reached: Sequence[float],
    back: str, rule: str, end: str,
) -> None:  # fmt: skip
    """One panel: delta pushes four generators, bars say how far each is interrupted."""
    _canvas(ax, (0, 10), (0, 7.2))
    ax.text(0.1, 6.85, title, fontsize=12, fontweight="bold", color=INK, va="center")
    ax.text(0.1, 6.32, subtitle, fontsize=9.5, color=QUIET, va="center")
    ax.text(9.9, 6.32, "the paper's picture, no data", fontsize=8.5, style="italic", color=QUIET,
            ha="right", va="center")  # fmt: skip
    _box(ax, (1.05, 3.55), 1.9, 1.5, "perturbation\n" + r"$\delta$", INK, fontsize=9)
    rows = (5.3, 4.15, 3.0, 1.85)
    for y, (name, colour), weight, level in zip(
        rows, MODEL_COLOURS.items(), weights, reached, strict=True
    ):
        _arrow(ax, (2.05, 3.55 + 0.3 * (y - 3.55)), (3.33, y), colour, width=1 + 11 * weight)
        _box(ax, (4.35, y), 2.0, 0.8, name, colour, fontsize=9)
        ax.add_patch(Rectangle((5.75, y - 0.22), 3.6, 0.44, fc="0.94", ec="none"))
        ax.add_patch(Rectangle((5.75, y - 0.22), 3.6 * level, 0.44, fc=colour, ec="none"))
    ax.text(5.75, 5.83, "interruption", fontsize=9, color=INK, va="center")
    mean = 5.75 + 3.6 * (min(reached) if end == "imbalance" else 0.54)
    ax.plot([mean, mean], [1.5, 5.6], color=INK, lw=1.1, ls=(0, (4, 3)))
    word = "the worst one is neglected" if end == "imbalance" else "all are interrupted alike"
    ax.text(9.35, 1.22, word, fontsize=8.5, color=INK, ha="right", va="center")
    for y in rows:  # the way back, below everything
        ax.plot([9.45, 9.65], [y, y], color=back, lw=1.6)
    ax.plot([9.65, 9.65, 7.2], [rows[0], 0.42, 0.42], color=back, lw=1.6)
    _box(ax, (4.75, 0.42), 4.8, 0.72, rule, back, fontsize=10)
    ax.plot([2.35, 1.05], [0.42, 0.42], color=back, lw=1.6)
    _arrow(ax, (1.05, 0.42), (1.05, 2.8), back, width=1.6)
    label = "gradients" if end == "imbalance" else "gradients, losses"
    ax.text(9.5, 0.5, label, fontsize=8, color=back, ha="right", va="bottom")


def framework() -> Figure:
    """Fig. 2: one step of the AEF loop, from photos to the next perturbation."""
    fig, ax = plt.subplots(figsize=(10.2, 4.7), layout=OWN_LAYOUT)
    with mpl.rc_context(SERIF):
        fig.subplots_adjust(0.005, 0.01, 0.995, 0.99)
        _canvas(ax, (0.4, 18.4), (0.95, 9.35))
        aef = METHOD_COLOURS["aef"]
        _inputs(ax)
        _generators(ax)
        _box(ax, (15.6, 6.0), 5.0, 2.3, "interruption strength\n"
             r"$S_k=(1-\lambda)\,\mathrm{MSE}(\hat y_k,y_k)$" "\n"
             r"$\quad+\;\lambda\,\mathrm{MSE}(\hat\phi_k,\phi_k)$", INK)  # fmt: skip
        _arrow(ax, (11.9, 6.0), (13.05, 6.0), INK)
        ax.text(12.48, 6.42, r"$\hat y_k,\hat\phi_k$", fontsize=9.5, ha="center", color=INK)
        _arrow(ax, (15.6, 4.8), (15.6, 3.25), aef)
        ax.text(15.8, 4.05, r"losses $S_k$", fontsize=9, va="center", color=aef)
        _box(ax, (15.6, 2.2), 5.0, 2.0, "adaptive equilibrium\n"
             r"$E_k\leftarrow\beta E_k+(1-\beta)S_k$" "\n"
             r"$w=\mathrm{softmax}(-E/\tau)$", aef)  # fmt: skip
        _box(ax, (10.0, 2.2), 3.7, 2.0, "weighted gradient\n"
             r"$g=\sum_k w_k\,\nabla_{\!\delta}\,S_k$", INK)  # fmt: skip
        _arrow(ax, (13.05, 2.2), (11.9, 2.2), aef)
        ax.text(12.48, 2.5, r"$w_k$", fontsize=10, ha="center", color=aef)
        _arrow(ax, (10.0, 4.28), (10.0, 3.25), INK)
        ax.text(
            10.2, 3.75, r"gradients $\nabla_{\!\delta}\,S_k$", fontsize=9, va="center", color=INK
        )
        _box(ax, (4.2, 2.2), 5.4, 2.0, "momentum and sign step\n"
             r"$m\leftarrow\mu\,m+g\,/\,\overline{|g|}$" "\n"
             r"$\delta\leftarrow\mathrm{clip}(\delta+\alpha\,\mathrm{sign}\,m,\,\pm\epsilon)$",
             INK)  # fmt: skip
        _arrow(ax, (8.1, 2.2), (6.95, 2.2), INK)
        _arrow(ax, (1.9, 3.25), (1.9, 4.0), INK)
    return fig


def _inputs(ax: Axes) -> None:
    _box(ax, (1.9, 7.6), 2.6, 1.1, "faces  $x$", INK)
    _box(ax, (1.9, 4.65), 2.6, 1.2, "perturbation  $\\delta$", INK)
    _box(ax, (5.3, 6.0), 2.4, 1.3, "protected\n$x+\\delta$", INK)
    _arrow(ax, (3.25, 7.3), (4.05, 6.5), INK)
    _arrow(ax, (3.25, 4.95), (4.05, 5.55), INK)
    _arrow(ax, (6.55, 6.0), (7.95, 6.0), INK)
    # the clean way round: computed once
    ax.plot([3.25, 15.6], [8.55, 8.55], color=QUIET, lw=1.2, ls=(0, (4, 3)))
    ax.plot([3.25, 3.25], [8.55, 8.55], color=QUIET)
    _arrow(ax, (15.6, 8.55), (15.6, 7.2), QUIET, dashed=True)
    ax.text(12.6, 8.75, r"clean forgeries and features $y_k,\phi_k$: computed once", fontsize=9,
            color=QUIET, ha="center", va="bottom")  # fmt: skip
    ax.plot([1.9, 1.9, 3.25], [8.2, 8.55, 8.55], color=QUIET, lw=1.2, ls=(0, (4, 3)))


def _generators(ax: Axes) -> None:
    """Four frozen networks, each with its own colour."""
    ax.add_patch(_rounded((8.05, 4.35), 3.8, 3.3, "0.975", "0.8"))
    ax.text(9.95, 7.42, "frozen generators $G_k$", fontsize=9, color=QUIET, ha="center",
            va="center")  # fmt: skip
    for i, (name, colour) in enumerate(MODEL_COLOURS.items()):
        _box(ax, (9.95, 6.85 - 0.71 * i), 3.2, 0.56, name, colour, fontsize=9)


def _canvas(ax: Axes, across: Point, up: Point) -> None:
    ax.set(xlim=across, ylim=up)
    ax.axis("off")


def _box(
    ax: Axes, centre: Point, width: float, height: float, text: str, colour: str,
    fontsize: float = 10,
) -> None:  # fmt: skip
    x, y = centre
    tint = [1 - 0.12 * (1 - c) for c in to_rgb(colour)] if colour != INK else "white"
    ax.add_patch(_rounded((x - width / 2, y - height / 2), width, height, tint, colour))
    ax.text(x, y, text, fontsize=fontsize, color=INK, ha="center", va="center", linespacing=1.45)


def _rounded(corner: Point, width: float, height: float, face: object, edge: str) -> FancyBboxPatch:
    style = "round,pad=0,rounding_size=0.16"
    return FancyBboxPatch(corner, width, height, boxstyle=style, fc=face, ec=edge, lw=1.3)


def _arrow(
    ax: Axes, start: Point, end: Point, colour: str, width: float = 1.4, dashed: bool = False
) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle=f"-|>,head_length={4 + width / 2},head_width={2 + width / 2}",
            lw=width, color=colour, shrinkA=0, shrinkB=0, mutation_scale=1, capstyle="butt",
            ls=(0, (4, 3)) if dashed else "-",
        )
    )  # fmt: skip
