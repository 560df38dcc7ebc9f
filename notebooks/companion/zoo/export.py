"""Ship trained generators: half-precision safetensors and a table with checksums.

python -m companion.zoo.export --weights FOLDER
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from aef_core.atomic import write_text
from aef_core.config import ASSETS
from aef_core.models.weights import sha256_of
from companion.training.export import save_half
from companion.zoo.recipes import RECIPES


def entry(name: str, file: Path, size: int, images: int) -> dict[str, Any]:
    """A generator's row of `zoo.json`: network, file, checksum, and how it was trained."""
    recipe = RECIPES[name]
    phases = {str(start): asdict(weights) for start, weights in recipe.phases.items()}
    return {
        "architecture": recipe.model,
        "settings": recipe.settings | {"image_size": size},
        "file": file.name,
        "sha256": sha256_of(file),
        "training": {"images": images, "weights": phases},
    }


def main(
    weights: Annotated[Path, typer.Option(help="folder of checkpoints from companion.zoo.train")],
    out: Annotated[Path, typer.Option(help="folder to ship to")] = ASSETS / "zoo",
) -> None:
    """Turn checkpoints into the embedded zoo; a generator without one keeps its file and row."""
    table = out / "zoo.json"
    known = json.loads(table.read_text()) if table.exists() else {}
    for path in sorted(weights.glob("*.ckpt")):
        stored = torch.load(path, map_location="cpu", weights_only=True)
        name, file = path.stem, out / f"{path.stem}.safetensors"
        save_half(file, stored["average"], {"images": stored["images"]})
        known[name] = entry(name, file, RECIPES[name].settings["image_size"], stored["images"])
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, {stored['images']:,} images seen")
    write_text(table, json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
