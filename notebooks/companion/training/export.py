"""Ship trained weights: half-precision safetensors, a table with checksums."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from aef_core.atomic import write_bytes, write_text


def save_half(path: Path, state: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write weights of two or more dimensions in float16, the few others as they are."""
    half = {
        k: (v.half() if v.is_floating_point() and v.dim() > 1 else v).contiguous().clone()
        for k, v in state.items()
    }
    write_bytes(path, safetensors.torch.save(half, {"aef": json.dumps(metadata)}))


def save_table(folder: Path, entries: dict[str, tuple[str, dict, dict]], table: str) -> None:
    """Write `<folder>/<table>`: of each weights file architecture, settings, checksum, training.

    `entries` maps a name to architecture, settings and training record; weights are expected in
    `<folder>/<name>.safetensors`. Names that are in the table already and not in `entries` stay.
    """
    path = folder / table
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, (architecture, settings, training) in entries.items():
        file = folder / f"{name}.safetensors"
        known[name] = {
            "architecture": architecture,
            "settings": settings,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "training": training,
        }
    write_text(path, json.dumps(known, indent=1) + "\n")
