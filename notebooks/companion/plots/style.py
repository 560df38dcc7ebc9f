"""The house style of figures, and keeping a figure together with its numbers."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from aef_core.atomic import replacement, write_text
from aef_core.metrics import SUCCESS_THRESHOLD
from aef_core.plots import METHOD_LABELS as METHOD_LABELS
from aef_core.plots import MODEL_COLOURS as MODEL_COLOURS
from companion.config import figures_dir
from companion.provenance import weights

# AEF is the one strong colour; the others are muted, and no generator has any of them
METHOD_COLOURS = {
    "aef": "#a5008c", "random": "#bdbdbd", "single-model": "#1a1a1a", "averaging": "#8a8a8a",
    "uniform": "#8a8a8a", "grad-norm": "#555a66", "tsdf": "#332288", "max-min": "#44aa99",
    "found": "#999933", "cmua": "#b8a9d9", "dwt": "#7d9db5", "pgd": "#cc6677",
    "mi-fgsm": "#6b4226",
}  # fmt: skip
# what is neither a method nor a generator: a task, a kind of fake, a cost
SERIES_COLOURS = ("#22314a", "#a07a5c", "#3d8c95")
# for figures that place their own axes: "none" does not outlive saving with a tight box
OWN_LAYOUT = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)


def use_style() -> None:
    """The house style: quiet axes, readable at column width, editable text in PDFs."""
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titleweight": "bold",
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "pdf.fonttype": 42,
            "figure.constrained_layout.use": True,
        }
    )


def method_label(method: str) -> str:
    """What a figure calls a method, on one line."""
    return METHOD_LABELS.get(method, method).replace("\n", " ")


def method_colour(method: str) -> str:
    """A method's colour; its variants ("AEF, tau 0.01", "PGD per image") share it."""
    root = method.lower().split(",")[0].removesuffix(" per image").removesuffix(" (ours)")
    return METHOD_COLOURS.get(root, "0.35")


def is_aef(method: str) -> bool:
    """Whether a method is AEF or a variant of it."""
    return method_colour(method) == METHOD_COLOURS["aef"]


def ink(method: str) -> str:
    """Where names tell methods apart: AEF in its colour, the others alike."""
    return METHOD_COLOURS["aef"] if is_aef(method) else "0.25"


def method_rows(ax: Axes, rows: Sequence[int], methods: Sequence[str]) -> None:
    """Methods down the vertical axis, AEF's name in its colour."""
    ax.set_yticks(rows, [method_label(m) for m in methods])
    for text, method in zip(ax.get_yticklabels(), methods, strict=True):
        text.set(color=ink(method), fontweight="bold" if is_aef(method) else "normal")


def threshold_line(ax: Axes, level: float = SUCCESS_THRESHOLD) -> None:
    """The level above which an image counts as interrupted, named at its right end."""
    ax.axhline(level, color="0.3", lw=1, ls=(0, (4, 3)))
    ax.annotate("inter-\nrupted", (1.01, level), xycoords=("axes fraction", "data"),
                fontsize=8, color="0.3", va="center")  # fmt: skip


def save_figure(
    fig: Figure, name: str, data: Any, *, zoo: Mapping[str, Any] | None = None, **config: Any
) -> Path:
    """Write `<name>.png`, `.pdf` and a `.json` sidecar with what was drawn and from what.

    The sidecar names the settings given here and their hash, the versions, the generators' weights
    and the numbers drawn, and nothing that changes between two runs of the same code.

    Parameters
    ----------
    fig : Figure
    name : str
        File name without suffix.
    data : DataFrame, Series, dict or list
        The numbers drawn.
    zoo : mapping of name to DeepfakeModel, optional
        The generators it shows, where the session has loaded others beside them.
    **config
        Whatever determined them: profile, method, seeds.
    """
    folder = figures_dir()
    with replacement(folder / f"{name}.png") as temporary:
        fig.savefig(temporary)
    with replacement(folder / f"{name}.pdf") as temporary:
        fig.savefig(temporary, metadata={"CreationDate": None})
    sidecar = {
        "config": config,
        "config_hash": _config_hash(config),
        "versions": _versions(),
        "weights": weights(zoo),
        "data": _plain(data),
    }
    write_text(folder / f"{name}.json", json.dumps(sidecar, indent=1) + "\n")
    return folder / f"{name}.png"


def _plain(data: Any) -> Any:
    if isinstance(data, pd.Series):
        data = data.to_frame("value")
    if isinstance(data, pd.DataFrame):
        told = data.reset_index().map(lambda x: float(f"{x:.6g}") if isinstance(x, float) else x)
        return json.loads(told.to_json(orient="records", double_precision=15))
    return data


def _config_hash(config: dict[str, Any]) -> str:
    """Eight hexadecimal digits that stand for a figure's settings, whatever their order."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _versions() -> dict[str, str]:
    # no commit: a figure drawn again from the same runs must give the same file
    from aef_core import __version__  # the package imports this module on its way up

    return {
        "aef_core": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
