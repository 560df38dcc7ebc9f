"""The command that asks the kept detector about pictures, and says how little an answer means."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from companion.cli import examples

app = typer.Typer()

LIMITS = (
    "This score separates the forgeries it was trained on, by four small generators and by "
    "blending, from photographs framed like CelebA's. It says little of other forgers, of "
    "compressed or edited copies, and is no evidence about a person."
)


@app.command(epilog=examples("detect picture.jpg", "detect *.png"))
def detect(
    images: Annotated[list[Path], typer.Argument(help="pictures with a face: JPEG, PNG, ...")],
) -> None:
    """Score faces with the small CS-DFD detector, and compare with faces whose answer is known."""
    from aef_core.errors import AEFError
    from companion.detectors.reading import calibration, face_in, rank
    from companion.detectors.study import load_detector

    model, known, failed = load_detector(), calibration(), 0
    for path in images:
        try:
            score = model.score(face_in(path)).item()
        except AEFError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        real, fake = (rank(score, scores) for scores in known)
        print(
            f"{path}: score {score:.2f}; at least this score {real:.0%} of the held-out real faces "
            f"and {fake:.0%} of the held-out forgeries"
        )
    if failed < len(images):
        print(LIMITS)
    if failed:
        raise typer.Exit(1)
