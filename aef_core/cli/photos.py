"""The command for people: protect one's own photos."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from tqdm.auto import tqdm

from aef_core.atomic import check_writable
from aef_core.cli import examples, shared
from aef_core.errors import AEFError

app = typer.Typer()


@app.command(
    epilog=examples(
        "protect me.jpg",
        "protect *.jpg --out protected --check 10",
        "protect me.jpg --run 3fa9c1d2e4b5 --strength 1.5",
    )
)
def protect(
    photos: Annotated[list[Path], typer.Argument(help="still photos with a face: JPEG, PNG, ...")],
    run: Annotated[
        str | None, typer.Option(help="a run of this project; else --method is optimised first")
    ] = None,
    method: shared.Method = "aef",
    settings: shared.Settings = None,
    steps: shared.Steps = shared.STEPS,
    out: Annotated[Path | None, typer.Option(help="folder to write to; beside the photo")] = None,
    strength: Annotated[
        float, typer.Option(help="multiplies the perturbation, up to 4: stronger, and more visible")
    ] = 1.0,
    exif: Annotated[bool, typer.Option(help="keep date, camera and place")] = True,
    check: Annotated[
        int, typer.Option(min=0, help="forge so many of the photos and copies of them, to measure")
    ] = 1,
) -> None:
    """Lay a universal perturbation over every face in your photos; overwrites nothing.

    A JPEG stays one, of its own quality; else a PNG is written, with transparency. Size, EXIF and
    an RGB colour profile are kept, thumbnails and other metadata not; all becomes 8-bit RGB. A
    photo that cannot be protected is named, the others go on; the exit code is then 1.

    Then the embedded generators forge the largest face of the first photos (--check): as it was
    protected, found anew, and from copies: JPEG 75, half the size, 0.73 of it (a screenshot).
    """
    from aef_core.faces.photos import check_strength, protect_photo
    from aef_core.faces.pictures import read_picture
    from aef_core.metrics.photos import in_words, left_in_copies
    from aef_core.perturbation.store import run_named

    check_strength(strength)
    failures: list[Path] = []
    photos = list(dict.fromkeys(photos))
    for path in photos:  # before minutes are spent on a perturbation
        with _noted(failures, path):
            read_picture(path, decode=False)
            check_writable(path.parent if out is None else out)
    if len(failures) == len(photos):
        raise typer.Exit(1)
    zoo = shared.open_zoo(None)
    made = shared.make_run(zoo, method, settings, steps) if run is None else run_named(run)
    shared.check_run(made, zoo)
    remarks, measured, sound = Counter(), [], [p for p in photos if p not in failures]
    for path in tqdm(sound, "photos", unit="photo", leave=False, disable=None):
        with _noted(failures, path):
            done = protect_photo(path, made.delta, out, strength, exif)
            sizes = (f"{b[2] - b[0]} px (PSNR {done.psnr(b):.1f} dB)" for b in done.boxes)
            tqdm.write(f"{path}: face of {', '.join(sizes)} -> {done.saved}")
            remarks.update(done.remarks)
            if len(measured) < check:
                measured.append(left_in_copies(zoo, path, done, made.delta, strength))
    for remark, count in remarks.items():
        print(f"{count} of {len(photos)}: {remark}")
    if measured:
        print(f"what is left, on {len(measured)} of the photos:\n{in_words(measured)}")
        print("mean L2_mask, share of edits interrupted, and whether above random signs' mean;")
        print("a forger finds the face anew, a little beside the square that was protected")
    if len(failures) < len(photos):
        print(
            f"Made against edits by {', '.join(made.config['zoo'])} as embedded here. Some of them "
            "resist. Not covered: other editors, edited copies, photos already online."
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
        tqdm.write(f"error: {error}", file=sys.stderr)
        failures.append(path)
