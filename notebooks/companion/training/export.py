"""Ship trained weights: half-precision safetensors, a table with checksums.

python -m companion.training.export --checkpoints runs/zoo64
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
import typer
from torch import Tensor

from aef_core.atomic import replacement, write_bytes, write_text
from aef_core.config import ASSETS
from companion import plots
from companion.training.curves import read_log


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


def main(
    checkpoints: Annotated[Path, typer.Option(help="folder of <model>.ckpt files")],
    zoo: Annotated[str, typer.Option(help="celeba64 or faces128")] = "celeba64",
    out: Annotated[Path | None, typer.Option(help="folder, the package's by default")] = None,
) -> None:
    """Turn training checkpoints into the embedded zoo and its table `zoo.json`.

    A generator without a checkpoint keeps the file it has. Training curves of those that have a
    log beside it are drawn in `curves.png`.
    """
    from companion.training.zoo128 import ZOOS

    if zoo not in ZOOS:
        raise typer.BadParameter(f"unknown zoo {zoo!r}; known: {', '.join(ZOOS)}")
    out = out or ASSETS / zoo
    logs = {}
    for name, config in ZOOS[zoo].items():
        checkpoint = checkpoints / f"{name}.ckpt"
        if not checkpoint.exists():
            print(f"{name}: no {checkpoint.name} in {checkpoints}, kept as it is")
            continue
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        weights = stored["average" if config.ship_average else "model"]
        training = {k: v for k, v in vars(config).items() if k != "settings"}
        training["iterations"] = stored["iteration"]
        save_half(out / f"{name}.safetensors", weights, training)
        save_table(out, {name: (config.model, config.settings, training)}, "zoo.json")
        if (log := checkpoints / f"{name}.jsonl").exists():
            logs[name] = read_log(log, config.phases)
    if logs:
        plots.use_style()
        with replacement(out / "curves.png") as temporary:
            plots.training.training_curves(logs).savefig(temporary, dpi=100)
    print(f"{out}: {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
