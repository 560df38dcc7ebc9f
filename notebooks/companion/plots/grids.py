"""The paper's figures that need more than axes and lines: blocks of faces, a photo taken apart.

Like `plots`: from data to a matplotlib figure, and none of them sees a network.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from torch import Tensor

from aef_core.plots import model_colours
from companion.plots.style import METHOD_LABELS, OWN_LAYOUT, ink


def picture(ax: Axes, image: Tensor, smooth: bool = True) -> None:
    """An image in [-1, 1], shape [3, H, W], without axes."""
    pixels = ((image + 1) / 2).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    ax.imshow(pixels, interpolation="lanczos" if smooth else "nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def forgery_grid(blocks: Mapping[str, Mapping[str, Tensor]], tile: float = 0.62) -> Figure:
    """One row per row label of `qualitative.forgeries`, one block of faces per generator.

    The layout of the paper's Figs. 3 to 5; `tile` is the side of one picture in inches.
    """
    rows, *_ = blocks.values()
    n, colours = len(rows["original"]), model_colours(blocks)
    left, top, gap = 1.15, 0.36, 0.14  # inches
    width = left + len(blocks) * (n * tile + gap)
    height = top + len(rows) * tile + 0.1  # air after "original" and "forged"
    fig = plt.figure(figsize=(width, height), layout=OWN_LAYOUT)
    inches = Affine2D().scale(1 / width, 1 / height) + fig.transFigure
    for b, (name, pictures) in enumerate(blocks.items()):
        x, colour = left + b * (n * tile + gap), colours[name]
        fig.text(x + n * tile / 2, height - 0.16, name, ha="center", va="center", fontsize=10,
                 fontweight="bold", color=colour, transform=inches)  # fmt: skip
        span, line = [x, x + (n - 0.03) * tile], [height - top + 0.05] * 2
        fig.add_artist(plt.Line2D(span, line, color=colour, lw=2, transform=inches))
        for r, (label, images) in enumerate(pictures.items()):
            y = height - top - (r + 1) * tile - (0.1 if r > 1 else 0)
            for i, image in enumerate(images):
                ax = fig.add_axes([(x + i * tile) / width, y / height,
                                   0.97 * tile / width, 0.97 * tile / height])  # fmt: skip
                picture(ax, image)
            if b == 0:
                words = METHOD_LABELS.get(label, label).replace(" (", "\n(")
                fig.text(left - 0.08, y + tile / 2, words, ha="right", va="center", fontsize=9,
                         color=ink(label),
                         transform=inches)  # fmt: skip
    return fig


def photo_apart(original: Tensor, protected: Tensor, eps: float) -> Figure:
    """Original, protected, their difference stretched to full contrast, and its spectrum.

    Parameters
    ----------
    original, protected : Tensor, shape [3, H, W], values in [-1, 1]
    eps : float
        Bound of the perturbation; its full span becomes black to white.
    """
    change = (protected - original).cpu()
    fig, axes = plt.subplots(1, 4, figsize=(10, 2.7), gridspec_kw={"width_ratios": [1, 1, 1, 1.2]})
    shown = (original, protected, (change / eps).clamp(-1, 1))
    titles = ("original", "protected", f"difference x {1 / eps:.0f}")
    for ax, image, title in zip(axes, shown, titles, strict=False):
        picture(ax, image, smooth="difference" not in title)
        ax.set_title(title)
    power = torch.fft.fftshift(torch.fft.fft2(change).abs().square().mean(0))
    half = change.shape[-1] / 2
    drawn = axes[3].imshow(power.clamp_min(1e-6).log10().numpy(), cmap="rocket",
                           extent=(-half, half, half, -half))  # fmt: skip
    axes[3].set(title="spectrum of the difference", xlabel="cycles per image width",
                xticks=[-half / 2, 0, half / 2], yticks=[])  # fmt: skip
    fig.colorbar(drawn, ax=axes[3], label="log10 power", shrink=0.9)
    return fig
