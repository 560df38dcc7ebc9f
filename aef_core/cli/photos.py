"""The command for people: protect one's own photos."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from aef_core.cli import examples
from aef_core.cli.shared import (
    Method,
    ProfileName,
    Settings,
    ZooName,
    check_run,
    make_run,
    open_zoo,
)

app = typer.Typer()


@app.command(
    epilog=examples(
        "protect me.jpg",
        "protect *.jpg --out protected --check",
        "protect me.jpg --run 3fa9c1d2e4b5 --strength 1.5",
    )
)
def protect(
    photos: Annotated[list[Path], typer.Argument(help="still photos with a face: JPEG, PNG, ...")],
    run: Annotated[
        str | None, typer.Option(help="a run of this project; else --method is optimised first")
    ] = None,
    method: Method = "aef",
    settings: Settings = None,
    profile: ProfileName = None,
    zoo_name: ZooName = "celeba64",
    out: Annotated[Path | None, typer.Option(help="folder to write to; beside the photo")] = None,
    strength: Annotated[
        float, typer.Option(help="multiplies the perturbation: stronger, and more visible")
    ] = 1.0,
    check: Annotated[
        bool, typer.Option(help="let the embedded generators forge each photo and measure")
    ] = False,
) -> None:
    """Lay a universal perturbation over the faces in your photos; writes PNGs, overwrites nothing.

    The photo keeps its resolution, transparency and colour profile; orientation is applied, other
    metadata (place, camera) is left out. Every face found is protected.
    """
    from aef_core.config import get_profile
    from aef_core.errors import AEFError
    from aef_core.faces.photos import protect_photo, read_photo
    from aef_core.metrics.photos import interrupted
    from aef_core.runs import run_named

    if not any(path.exists() for path in photos):
        read_photo(photos[0])  # says so, before minutes are spent on a perturbation
    zoo = open_zoo(None, zoo_name)
    perturbation = make_run(zoo, method, settings, profile) if run is None else run_named(run)
    check_run(perturbation, zoo)
    if run is None and get_profile(profile).name == "smoke":
        print("profile smoke: a perturbation of four steps, which protects nothing")
    failed = 0
    for path in photos:
        try:
            done = protect_photo(path, perturbation.delta, out, strength)
        except AEFError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        faces = f"{len(done.boxes)} face{'s' if len(done.boxes) > 1 else ''}"
        print(f"{path}: {faces}, PSNR {done.psnr():.1f} dB -> {done.saved}")
        for box in done.boxes:
            print(f"  face in a square of {box[2] - box[0]} px, PSNR {done.psnr(box):.1f} dB there")
            if check:
                values = interrupted(zoo, done, box).items()
                words = ", ".join(f"{name} {value:.3f}" for name, value in values)
                print(f"  forged from it, mean L2_mask (0.05 counts as interrupted): {words}")
    names = ", ".join(perturbation.config["zoo"])
    if failed < len(photos):
        print(
            f"Made against edits by {names} as embedded here, of a face framed as here, from this "
            "very file. Some of them resist: --check says how far each is disturbed. Not covered: "
            "other editors, a strongly compressed or edited copy, photos already online."
        )
    if failed:
        raise typer.Exit(1)
