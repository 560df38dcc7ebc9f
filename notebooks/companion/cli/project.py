"""Commands for the tour itself: run the notebooks, measure the embedded faces."""

from typing import Annotated

import typer

from companion.cli import examples

app = typer.Typer()


@app.command(epilog=examples("reproduce", "reproduce --all", "reproduce --profile smoke"))
def reproduce(
    profile: Annotated[str, typer.Option(help="smoke, quick or paper")] = "quick",
    extensions: Annotated[
        bool, typer.Option("--all", help="the extensions too, not only the tour (00 to 05)")
    ] = False,
    store: Annotated[bool, typer.Option(help="also replace the stored notebooks")] = False,
) -> None:
    """Run the notebooks in order, write figures/ and print the results table.

    Executed copies go to runs/notebooks; finished runs are found again, so a second call is quick.
    """
    from companion.reproduce import reproduce_all

    reproduce_all(profile, store, extensions)


@app.command(epilog=examples("faces"))
def faces() -> None:
    """Measure the embedded faces: how many, and in how many MTCNN finds a face."""
    from aef_core.faces import SPLITS, load_faces
    from companion.studies.detection import detected

    for split in SPLITS:
        images = load_faces(split=split).images
        share = detected(images).float().mean()
        print(f"{split}: {len(images)} faces, MTCNN finds a face in {share:.1%}")
