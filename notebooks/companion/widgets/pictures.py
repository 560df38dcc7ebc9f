"""The pictures of the views: functions from histories and images to figures outside pyplot."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from aef_core.metrics.statistics import late_means
from companion.plots.style import MODEL_COLOURS
from companion.studies.equilibrium import equilibrium_residual
from companion.widgets.common import new_figure

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])  # of the weight triangle
SMALL = {"labelsize": 8, "length": 3}


def weight_picture(
    history: pd.DataFrame, reference: pd.DataFrame | None, names: tuple[str, str]
) -> Figure:
    """Strengths, weights, equilibrium residual, and who ends where.

    Parameters
    ----------
    history : DataFrame
        As `Run.history`.
    reference : DataFrame, optional
        Another history of the same generators; its residual and last quarter are drawn beside.
    names : (str, str)
        Of the two, for the legend.

    Three generators have weights on a triangle: the fourth panel then shows the path on it.
    """
    figure = new_figure(9.2, 5.6)
    grid = figure.add_gridspec(2, 2, left=0.08, right=0.985, top=0.88, bottom=0.09,
                               wspace=0.22, hspace=0.48)  # fmt: skip
    axes = [figure.add_subplot(grid[i, j]) for i in (0, 1) for j in (0, 1)]
    strength, weight = (history.pivot(index="step", columns="model", values=c)[list(
        history["model"].unique())] for c in ("strength", "weight"))  # fmt: skip
    colours = [MODEL_COLOURS.get(m, "0.5") for m in strength]
    _lines(axes[0], strength, colours)
    axes[1].stackplot(weight.index, weight.to_numpy().T, colors=colours, alpha=0.85, lw=0)
    axes[1].set(ylim=(0, 1), xlim=_ends(weight), xlabel="step", title="weights, stacked")
    _residuals(axes[2], history, reference, names)
    if weight.shape[1] == 3:
        simplex(axes[3], weight, colours)
    else:
        _last_quarter(axes[3], history, reference, colours)
    for ax in axes:
        _tidy(ax)
    handles = axes[0].lines[: len(colours)]
    figure.legend(handles, list(strength), loc="upper center", ncols=len(colours), fontsize=9,
                  frameon=False)  # fmt: skip
    return figure


def simplex(ax: Axes, weight: pd.DataFrame, colours: Sequence[str]) -> None:
    """The path of three weights on their triangle: a corner is all weight on one generator."""
    triangle = np.vstack([CORNERS, CORNERS[:1]])
    ax.plot(*triangle.T, color="0.4", lw=1)
    path = weight.to_numpy() @ CORNERS
    ax.plot(*path.T, color="0.6", lw=1)
    ax.scatter(*path.T, c=np.arange(len(path)), cmap="viridis", s=9, zorder=3)
    ax.scatter(*path[-1:].T, s=60, facecolor="none", edgecolor="0.1", zorder=4)
    ax.scatter(*CORNERS.mean(axis=0), marker="+", s=40, color="0.4")
    anchors = (("right", "center"), ("left", "center"), ("center", "bottom"))
    for corner, name, colour, (h, v) in zip(CORNERS, weight, colours, anchors, strict=True):
        ax.annotate(name, corner, xytext=({"right": -5, "left": 5}.get(h, 0), 3 * (h == "center")),
                    textcoords="offset points", ha=h, va=v, fontsize=9, color=colour,
                    weight="bold")  # fmt: skip
    ax.set(aspect="equal", xlim=(-0.45, 1.45), ylim=(-0.08, 1.05),
           title="weights on the simplex (ring: last step)")  # fmt: skip
    ax.axis("off")


def _lines(ax: Axes, strength: pd.DataFrame, colours: Sequence[str]) -> None:
    for name, colour in zip(strength, colours, strict=True):
        ax.plot(strength.index, strength[name].clip(lower=1e-12), color=colour, lw=1.7)
    ax.set(yscale="log", xlim=_ends(strength), xlabel="step", title="interruption strength S")
    low, high = ax.get_ylim()
    if high > 1000 * low:  # over many decades the small ticks are a black bar
        ax.minorticks_off()


def _residuals(
    ax: Axes, history: pd.DataFrame, reference: pd.DataFrame | None, names: tuple[str, str]
) -> None:
    if reference is not None:
        other = equilibrium_residual(reference)
        ax.plot(other.index, other, color="0.6", lw=1.4, ls=(0, (4, 2)), label=names[1])
    residual = equilibrium_residual(history)
    ax.plot(residual.index, residual, color="0.1", lw=1.7, label=names[0])
    ax.set(
        xlim=_ends(residual),
        xlabel="step",
        title=r"equilibrium residual $\langle w,S\rangle-\min S$",
    )
    ax.set_ylim(bottom=min(0, residual.min()))
    ax.legend(fontsize=8, frameon=False)


def _last_quarter(
    ax: Axes, history: pd.DataFrame, reference: pd.DataFrame | None, colours: Sequence[str]
) -> None:
    late = late_means(history)
    place = np.arange(len(late))
    ax.bar(place, late["strength"], 0.62, color=colours)
    other = None if reference is None else late_means(reference)["strength"]
    if other is not None and not np.allclose(other, late["strength"]):  # a replay has the same S
        ax.bar(place, other, 0.76, fill=False, edgecolor="0.35", lw=1.2, ls=(0, (4, 2)))
    ax.set_xticks(place, [f"{name}\nw {w:.2f}" for name, w in late["weight"].items()])
    ax.set(title="S over the last quarter, and its weight")
    largest, smallest = late["strength"].max(), late["strength"].min()
    if 0 < 20 * smallest < largest:  # on a linear axis the weakest would not be seen
        ax.set_yscale("log")
        ax.set_ylim(smallest / 3, None)
    else:
        ax.set_ylim(bottom=0)


def _ends(data: pd.DataFrame | pd.Series) -> tuple[float, float]:
    return data.index[0], max(data.index[-1], data.index[0] + 1)


def _tidy(ax: Axes) -> None:
    ax.tick_params(**SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    ax.title.set(fontsize=10, fontweight="normal")
    ax.xaxis.label.set_size(9)


def show_faces(figure: Figure, images: Mapping[str, Tensor], place: tuple[float, ...]) -> None:
    """Labelled images in one row.

    Parameters
    ----------
    images : mapping of label to Tensor, shape [3, H, W], values in [-1, 1]
    place : (left, bottom, width, height)
        In fractions of the figure.
    """
    left, bottom, width, height = place
    grid = figure.add_gridspec(1, len(images), left=left, bottom=bottom, right=left + width,
                               top=bottom + height, wspace=0.04)  # fmt: skip
    for column, (label, image) in enumerate(images.items()):
        ax = figure.add_subplot(grid[0, column])
        pixels = ((image + 1) / 2).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        ax.imshow(pixels, interpolation="lanczos")
        ax.axis("off")
        ax.set_title(label, fontsize=9, fontweight="normal", pad=4)


def progress_picture(
    history: pd.DataFrame | None, total: int, images: Mapping[str, Tensor]
) -> Figure:
    """A run under way: strengths and weights so far, and a face under the present perturbation."""
    figure = new_figure(9.2, 4.9)
    grid = figure.add_gridspec(1, 2, left=0.08, right=0.985, top=0.86, bottom=0.57, wspace=0.2)
    axes = [figure.add_subplot(grid[0, j]) for j in (0, 1)]
    titles = ("interruption strength S", "weights")
    for ax, column, title in zip(axes, ("strength", "weight"), titles, strict=True):
        for model, part in () if history is None else history.groupby("model", sort=False):
            colour = MODEL_COLOURS.get(model, "0.5")
            ax.plot(part["step"] + 1, part[column], color=colour, lw=1.7, label=model,
                    marker="o" if len(part) == 1 else None)  # fmt: skip
        ax.set(xlim=(0, total), xlabel="step", title=title)
        _tidy(ax)
    if history is None:
        axes[0].text(0.5, 0.5, "press Start", transform=axes[0].transAxes, ha="center", va="center",
                     color="0.4")  # fmt: skip
    else:
        axes[0].set_yscale("log")
        figure.legend(*axes[1].get_legend_handles_labels(), loc="upper center", ncols=4,
                      fontsize=9, frameon=False)  # fmt: skip
    axes[1].set_ylim(0, 1)
    show_faces(figure, images, (0.06, 0.01, 0.9, 0.36))
    return figure
