"""The house style of figures, and keeping a figure together with its numbers."""

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from aef_core.atomic import replacement, write_text
from aef_core.plots import METHOD_LABELS as METHOD_LABELS
from aef_core.plots import MODEL_COLOURS as MODEL_COLOURS
from companion.config import figures_dir
from companion.provenance import weights

_PALETTE = sns.color_palette("colorblind").as_hex()
METHOD_COLOURS = {"uniform": _PALETTE[7], "grad-norm": _PALETTE[9], "aef": _PALETTE[4]}
METHOD_COLOURS["AEF"] = METHOD_COLOURS["aef"]
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
        return json.loads(data.reset_index().to_json(orient="records", double_precision=6))
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
