"""The command for people: protect one's own photos."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aef_core.atomic import check_writable
from aef_core.cli import examples
from aef_core.cli.shared import (
    Method,
    ProfileName,
    Settings,
    check_run,
    make_run,
    open_zoo,
)
from aef_core.errors import AEFError

if TYPE_CHECKING:
    from aef_core.faces.photos import Box, Protected

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
    out: Annotated[Path | None, typer.Option(help="folder to write to; beside the photo")] = None,
    strength: Annotated[
        float, typer.Option(help="multiplies the perturbation, up to 4: stronger, and more visible")
    ] = 1.0,
    check: Annotated[
        bool, typer.Option(help="let the embedded generators forge each photo and measure")
    ] = False,
) -> None:
    """Lay a universal perturbation over the faces in your photos; writes PNGs, overwrites nothing.

    The photo keeps its resolution, transparency and colour profile; orientation is applied, other
    metadata (place, camera) is left out. Every face found is protected. A photo that cannot be is
    named, the others go on; the exit code is then 1.
    """
    from aef_core.config import get_profile
    from aef_core.faces.photos import check_strength, protect_photo
    from aef_core.faces.pictures import open_picture
    from aef_core.metrics.photos import interrupted
    from aef_core.perturbation.shelf import run_named

    check_strength(strength)
    failures: list[Path] = []
    photos = list(dict.fromkeys(photos))
    for path in photos:  # before minutes are spent on a perturbation
        with _noted(failures, path):
            open_picture(path)
            check_writable(path.parent if out is None else out)
    if len(failures) == len(photos):
        raise typer.Exit(1)
    zoo = open_zoo(None)
    perturbation = make_run(zoo, method, settings, profile) if run is None else run_named(run)
    check_run(perturbation, zoo)
    if run is None and get_profile(profile).name == "smoke":
        print("profile smoke: a perturbation of four steps, which protects nothing")
    for path in photos:
        if path not in failures:
            with _noted(failures, path):
                done = protect_photo(path, perturbation.delta, out, strength)
                forged = {box: interrupted(zoo, done, box) for box in done.boxes if check}
                _report(path, done, forged)
    if len(failures) < len(photos):
        names = ", ".join(perturbation.config["zoo"])
        print(
            f"Made against edits by {names} as embedded here, of a face framed as here, from this "
            "very file. Some of them resist: --check says how far each is disturbed. Not covered: "
            "other editors, a strongly compressed or edited copy, photos already online."
        )
    if failures:
        print(f"not protected: {', '.join(map(str, failures))}", file=sys.stderr)
        raise typer.Exit(1)


@contextmanager
def _noted(failures: list[Path], path: Path) -> Iterator[None]:
    """One bad photo does not end the batch: its error is told, and kept for the summary."""
    try:
        yield
    except AEFError as error:
        print(f"error: {error}", file=sys.stderr)
        failures.append(path)


def _report(path: Path, done: "Protected", forged: dict["Box", dict[str, float]]) -> None:
    """What was done to a photo, and how far forgeries of each face of it are disturbed."""
    faces = f"{len(done.boxes)} face{'s' if len(done.boxes) > 1 else ''}"
    print(f"{path}: {faces}, PSNR {done.psnr():.1f} dB -> {done.saved}")
    if done.remark:
        print(f"  {done.remark}")
    for box in done.boxes:
        print(f"  face in a square of {box[2] - box[0]} px, PSNR {done.psnr(box):.1f} dB there")
        if box in forged:
            words = ", ".join(f"{name} {value:.3f}" for name, value in forged[box].items())
            print(f"  forged from it, mean L2_mask (0.05 counts as interrupted): {words}")
