"""Figures: functions from data to a matplotlib figure. None of them sees a network."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aef_core.plots import model_colours, model_lines
from companion.plots.style import OWN_LAYOUT, method_label, threshold_line


def face_grid(
    rows: Mapping[str, Tensor], columns: Sequence[str] | None = None, tile: float = 0.95
) -> Figure:
    """Images in labelled rows.

    Parameters
    ----------
    rows : mapping of label to Tensor, shape [n, 3, H, W], values in [-1, 1]
    columns : sequence of str, optional
        Labels above the columns.
    tile : float
        Side of one image in inches.
    """
    n = max(len(images) for images in rows.values())
    width, height = tile * n + 1.2, tile * len(rows) + 0.4
    fig, axes = plt.subplots(
        len(rows), n, figsize=(width, height), squeeze=False, layout=OWN_LAYOUT,
        gridspec_kw={
            "left": 1.2 / width, "right": 1, "bottom": 0, "top": 1 - 0.4 / height,
            "wspace": 0.03, "hspace": 0.03,
        },
    )  # fmt: skip
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.axis("off")
        for ax, image in zip(line, ((images + 1) / 2).clamp(0, 1), strict=False):
            ax.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="lanczos")
        line[0].text(-0.08, 0.5, label, transform=line[0].transAxes, ha="right", va="center",
                     fontsize=9)  # fmt: skip
    for ax, label in zip(axes[0], columns or (), strict=False):
        ax.set_title(label, fontsize=9, fontweight="normal", pad=4)
    return fig


def before_after(
    story: Mapping[str, Sequence[Tensor]],
    captions: Mapping[str, str] | None = None,
    tile: float = 0.95,
) -> Figure:
    """Photo, forged, protected, forged after protection: one row a generator, the first face.

    Parameters
    ----------
    story : mapping of generator to four tensors, each of shape [N, 3, H, W], from `study.story`
    captions : mapping of generator to str, optional
        What to write on its last picture.
    tile : float
        Side of one picture in inches.
    """
    titles = ["photo", "forged", "protected photo", "forged after protection"]
    if tile < 1.5:  # titles as wide as their picture
        titles = ["photo", "forged", "protected", "forged after\nprotection"]
    rows = {name: torch.stack([images[0] for images in parts]) for name, parts in story.items()}
    fig = face_grid(rows, titles, tile)
    last = (ax for ax in fig.axes if ax.get_subplotspec().is_last_col())
    for ax, name in zip(last, rows, strict=True):
        if captions:
            ax.text(0.5, 0.035, captions[name], transform=ax.transAxes, ha="center", va="bottom",
                    color="white", fontsize=11, fontweight="bold",
                    bbox={"fc": "0.1", "ec": "none", "pad": 3})  # fmt: skip
    return fig


def amplified(delta: Tensor, eps: float) -> Figure:
    """A universal perturbation stretched to full contrast, and its spectrum.

    The spectrum is the mean power over RGB, log scale, zero frequency in the middle.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3))
    left.imshow((delta[0] / eps / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    left.set_title(f"perturbation x {1 / eps:.0f}")
    power = torch.fft.fftshift(torch.fft.fft2(delta[0].cpu()).abs().square().mean(0))
    shown = right.imshow(power.clamp_min(1e-6).log10().numpy(), cmap="rocket")
    right.set_title("spectrum, log10 power")
    fig.colorbar(shown, ax=right, shrink=0.8)
    for ax in (left, right):
        ax.set(xticks=[], yticks=[])
    return fig


def dynamics(histories: Mapping[str, pd.DataFrame], column: str = "strength") -> Figure:
    """One column of the history per step, one panel a method, one line a generator."""
    labels = {
        "strength": "interruption strength S",
        "output_mse": "output MSE",
        "weight": "weight",
        "grad_l1": "mean |dS / dpixel|",
    }
    fig, axes = plt.subplots(
        1, len(histories), figsize=(3.1 * len(histories), 2.8), sharey=True, squeeze=False
    )
    for ax, (title, history) in zip(axes[0], histories.items(), strict=True):
        model_lines(ax, history, column)
        ax.set(title=method_label(title), xlabel="step")
    axes[0, 0].set_ylabel(labels[column])
    if column in ("grad_l1", "strength", "output_mse"):  # generators differ by orders of magnitude
        axes[0, 0].set_yscale("log")
    if column == "weight":
        axes[0, 0].set_ylim(0, 1)
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig


def gradient_conflicts(cosines: Mapping[str, np.ndarray], models: Sequence[str]) -> Figure:
    """Mean cosine between generators' gradients, one heat map a method; below 0 is a conflict."""
    fig, axes = plt.subplots(
        1, len(cosines), figsize=(3.2 * len(cosines) + 0.6, 3.0), squeeze=False
    )
    limit = max(abs(_off_diagonal(c)).max() for c in cosines.values())
    for ax, (title, values) in zip(axes[0], cosines.items(), strict=True):
        mean = values.mean(axis=0)
        sns.heatmap(
            np.where(np.eye(len(models), dtype=bool), np.nan, mean),
            annot=True, fmt=".2f", vmin=-limit, vmax=limit, cmap="vlag", square=True, ax=ax,
            xticklabels=models, yticklabels=models if ax is axes[0, 0] else False,
            cbar=ax is axes[0, -1], linewidths=1, annot_kws={"fontsize": 9},
            cbar_kws={"label": "mean cosine"} if ax is axes[0, -1] else None,
        )  # fmt: skip
        ax.set_title(method_label(title))
        ax.tick_params(axis="x", length=0)
        plt.setp(ax.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
        ax.tick_params(axis="y", length=0)
    return fig


def _off_diagonal(cosines: np.ndarray) -> np.ndarray:
    mean = cosines.mean(axis=0)
    return mean[~np.eye(len(mean), dtype=bool)]


def sweep(table: pd.DataFrame, x: str, xlabel: str, log: bool = True) -> Figure:
    """Mean L2_mask of every generator (left, log scale) and its weight (right) over a setting.

    Parameters
    ----------
    table : DataFrame with columns `x`, model, l2_mask, weight
    """
    colours = model_colours(table["model"])
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.0))
    for ax, column, label in zip(
        axes,
        ("l2_mask", "weight"),
        ("mean L2_mask on unseen faces", "mean weight, last quarter"),
        strict=True,
    ):
        for model, part in table.groupby("model", sort=False):
            ax.plot(part[x], part[column], "o-", color=colours[model], label=model, ms=4)
        ax.set(xlabel=xlabel, ylabel=label)
        if log:
            ax.set_xscale("log")
    # the resistant generators lie a hundred times below the others: on a linear axis, at zero
    axes[0].set_yscale("log")
    threshold_line(axes[0])
    axes[1].set_ylim(0, None)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return fig
