"""Commands for what is embedded and what is not: count the faces, fetch the official weights."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aef_core.cli import examples

app = typer.Typer()


@app.command(epilog=examples("faces"))
def faces() -> None:
    """Measure the embedded faces: how many, and in how many MTCNN finds a face."""
    from aef_core.faces import SPLITS, load_faces
    from aef_core.faces.detection import detected

    for split in SPLITS:
        images = load_faces(split=split).images
        share = detected(images).float().mean()
        print(f"{split}: {len(images)} faces, MTCNN finds a face in {share:.1%}")


@app.command(epilog=examples("zoo"))
def zoo() -> None:
    """List the embedded generators: checksum on disk, size, and what was measured of them.

    Measured on held-out faces: share of edits that a judge sees, and mean L2_mask of a perturbation
    made for this generator alone.
    """
    import pandas as pd

    from aef_core.models.zoo import listing

    print(pd.DataFrame(listing()).set_index("model").to_string())


@app.command(epilog=examples("fetch ~/official-weights"))
def fetch(
    root: Annotated[Path, typer.Argument(help="folder for the official checkpoints")],
) -> None:
    """Download the official checkpoints that have a direct address; say where the others are."""
    from aef_core.models.official import fetch_official

    missing = fetch_official(root)
    if missing:
        print(f"still missing: {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(1)
