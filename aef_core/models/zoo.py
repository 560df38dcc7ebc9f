"""Generators by name, as a `zoo.json` lists them: the embedded ones, the official checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aef_core.config import ASSETS, default_device
from aef_core.errors import BadInput
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.weights import REINSTALL, load_weights

EMBEDDED = ASSETS / "zoo"
# Loaded by this process, for the JSON beside a figure: zoo -> generator -> 8 digits of its SHA-256
LOADED: dict[str, dict[str, str]] = {}


@dataclass(frozen=True)
class Checkpoint:
    """A row of a `zoo.json`: a generator's network, its file, and how to get the file."""

    architecture: str
    settings: Mapping[str, Any]
    file: str  # below the zoo's folder; the official ones lie where the user says
    sha256: str | None = None  # of the file, where a copy is known to be good
    training: Mapping[str, Any] | None = None  # how it was made, where we made it
    key: str | None = None  # of the weights inside the stored dict, None if they are the dict
    cure: str = REINSTALL  # what a refusal advises


def load_zoo(
    name: str | None = None,
    root: str | Path | None = None,
    models: list[str] | str | None = None,
    device: str | torch.device | None = None,
) -> dict[str, DeepfakeModel]:
    """Frozen generators in eval mode, by display name, in a fixed order.

    Parameters
    ----------
    name : {"official"}, optional
        The published 256-pixel checkpoints, which need `root` (see docs/official-weights.md); the
        embedded generators of 128 pixels by default.
    root : path, optional
        Folder of the official checkpoints, laid out as `OFFICIAL` says.
    models : list of str or str, optional
        Only these; all the zoo has by default.
    device : optional
        `AEF_DEVICE`, CUDA or the CPU by default.

    Raises
    ------
    ValueError, BadCheckpoint
        Unknown zoo, model or device, no root; a file that is missing or not the architecture's.
    """
    models = [models] if isinstance(models, str) else models
    if name not in (None, "official"):
        raise BadInput(f"unknown zoo {name!r}; known: official, or no name for the embedded one")
    if name and root is None:
        raise BadInput("load_zoo('official') needs root=; see docs/official-weights.md")
    table, folder = (OFFICIAL, Path(root)) if name else (checkpoints(EMBEDDED), EMBEDDED)
    held = [m for m in ARCHITECTURES if m in table]
    wanted = held if models is None else models
    if unknown := [m for m in wanted if m not in held]:
        raise BadInput(f"unknown model {unknown[0]!r}; known: {', '.join(held)}")
    device = default_device(device)
    origin = name or "embedded"
    return {m: read_model(folder, m, table[m], origin).to(device) for m in wanted}


def checkpoints(folder: Path) -> dict[str, Checkpoint]:
    """The generators that the `zoo.json` of a folder lists."""
    table = json.loads((folder / "zoo.json").read_text())
    return {name: Checkpoint(**row) for name, row in table.items()}


OFFICIAL = checkpoints(ASSETS / "official")


def read_model(
    folder: Path, name: str, entry: Checkpoint, zoo: str, known: Mapping[str, type] = ARCHITECTURES
) -> DeepfakeModel:
    """The frozen generator of one row of a folder's `zoo.json`, on the CPU; or `BadCheckpoint`."""
    model = known[entry.architecture](**entry.settings)
    digest = load_weights(model, folder / entry.file, entry.cure, entry.key, entry.sha256)
    model.origin = (zoo, name, digest[:8])
    LOADED.setdefault(zoo, {})[name] = digest[:8]
    return model.eval().requires_grad_(False)
