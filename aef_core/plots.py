"""The three figures of a run: its weights over time, what forgers get, and who is protected.

Each function returns a matplotlib figure; matplotlib is imported when one is drawn.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.faces.pixels import protect
from aef_core.metrics.evaluation import SUCCESS_THRESHOLD, Evaluator
from aef_core.metrics.statistics import intervals
from aef_core.perturbation.objective import Zoo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

# Okabe and Ito's colours, as in seaborn's "colorblind"
MODEL_COLOURS = {
    "StarGAN": "#0173b2", "AttentionGAN": "#029e73", "AttGAN": "#d55e00", "HiSD": "#de8f05",
}  # fmt: skip
OTHER_COLOURS = ("#cc78bc", "#56b4e9", "#ca9161", "#949494", "#fbafe4", "#ece133")
METHOD_LABELS = {"uniform": "averaging", "grad-norm": "static\nnormalisation", "aef": "AEF"}

Blocks = dict[str, dict[str, Tensor]]


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


def forgeries(
    zoo: Zoo, faces: FaceBatch, deltas: Mapping[str, Tensor], edit: str | Mapping[str, str]
) -> Blocks:
    """The pictures of `forgery_grid`: per generator, what a forger gets from each photo.

    Parameters
    ----------
    faces : FaceBatch
        A few faces no perturbation was optimised on, of the zoo's image size.
    deltas : mapping of method to Tensor, shape [1 or N, 3, H, W]
    edit : str or mapping of generator to str
        What the forger asks for.

    Returns
    -------
    dict of generator to dict of row label to images, [N, 3, H, W]: "original", "forged", then the
    forgery from the photo that each method protects.
    """
    judge = Evaluator(zoo, faces)
    asked = dict.fromkeys(zoo, edit) if isinstance(edit, str) else edit
    blocks = {n: {"original": faces.images, "forged": judge.forged(n, asked[n])} for n in zoo}
    for method, delta in deltas.items():
        protected = protect(faces.images, delta.cpu())
        for name, block in blocks.items():
            block[method] = judge.forge(protected, name, asked[name])
    return blocks


def forgery_grid(blocks: Mapping[str, Mapping[str, Tensor]], tile: float = 0.62) -> "Figure":
    """One row per row label of `forgeries`, one block of faces per generator.

    The layout of the paper's Figs. 3 to 5; `tile` is the side of one picture in inches.
    """
    import matplotlib.pyplot as plt
    from matplotlib.transforms import Affine2D

    rows, *_ = blocks.values()
    n, colours = len(rows["original"]), model_colours(blocks)
    left, top, gap = 1.15, 0.36, 0.14  # inches
    width = left + len(blocks) * (n * tile + gap)
    height = top + len(rows) * tile + 0.1  # air after "original" and "forged"
    fig = plt.figure(figsize=(width, height), layout=own_layout())
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
                         transform=inches)  # fmt: skip
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
        labels = [f"{v:#.2g}".replace("0.", ".", 1) for v in part["value"]]
        ax.bar_label(bars, labels, fontsize=7, padding=1, color="0.25")
    ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
    ax.annotate("interrupted", (len(methods) - 0.5, SUCCESS_THRESHOLD), xytext=(0, 3),
                textcoords="offset points", fontsize=8, color="0.3", ha="right")  # fmt: skip
    ax.set_xticks(range(len(methods)), [METHOD_LABELS.get(m, m) for m in methods])
    ax.set_ylabel("mean L2_mask on unseen faces")
    ax.legend(ncols=1, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)
    return fig


def model_colours(models: Iterable[str]) -> dict[str, str]:
    """A colour per generator: the zoo's four have their own, others take the next free one."""
    others = (m for m in dict.fromkeys(models) if m not in MODEL_COLOURS)
    return MODEL_COLOURS | {m: OTHER_COLOURS[i % 6] for i, m in enumerate(others)}


def model_lines(ax: "Axes", history: pd.DataFrame, column: str) -> None:
    """One column of a history per step, one line per generator; says so where all are one line."""
    colours = model_colours(history["model"].unique())
    for model, part in history.groupby("model", sort=False):
        ax.plot(part["step"], part[column], color=colours[model], label=model, lw=1.6)
    values = history[column]
    if values.max() - values.min() < 1e-6:
        ax.annotate("all generators", (0.5, values.iloc[0]), (0, 4),
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                    ha="center", fontsize=8, color="0.3")  # fmt: skip


def picture(ax: "Axes", image: Tensor, smooth: bool = True) -> None:
    """An image in [-1, 1], shape [3, H, W], without axes."""
    pixels = ((image + 1) / 2).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    ax.imshow(pixels, interpolation="lanczos" if smooth else "nearest")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def own_layout() -> "LayoutEngine":
    """For figures that place their own axes; "none" does not outlive saving with a tight box."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    return PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
