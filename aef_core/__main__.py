"""Command line: `python -m aef_core` with `reproduce`, `zoo`, `faces` and `fetch`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The AEF companion.",
    pretty_exceptions_enable=False,
)


@app.command()
def reproduce(
    profile: Annotated[str, typer.Option(help="smoke, quick or paper")] = "quick",
    store: Annotated[bool, typer.Option(help="also replace the stored notebooks")] = False,
) -> None:
    """Run the notebooks in order, write figures/ and print the results table.

    Executed copies go to runs/notebooks; finished runs are found again, so a second call is quick.
    """
    from aef_core.reproduce import reproduce_all

    reproduce_all(profile, store)


@app.command()
def zoo(
    celeba: Annotated[
        Path | None, typer.Option(help="CelebA folder or zip; measure the bars on its test split")
    ] = None,
    n: Annotated[int, typer.Option(help="faces to measure on")] = 120,
    write: Annotated[bool, typer.Option(help="keep the numbers in the model card")] = False,
) -> None:
    """Show the embedded zoo and measure it: are its edits right, can it be interrupted?

    Takes about two minutes. Measured on held-out CelebA faces with --celeba, else on the embedded
    test faces.
    """
    from aef_core.zoo_bars import report

    report(celeba, n, write)


@app.command()
def faces() -> None:
    """Measure the embedded faces: how many, and in how many MTCNN finds a face."""
    from aef_core.detection import detected
    from aef_core.faces import SPLITS, load_faces

    for split in SPLITS:
        batch = load_faces(split=split)
        share = detected(batch.images).float().mean()
        print(f"{split}: {len(batch)} faces, MTCNN finds a face in {share:.1%}")


@app.command()
def fetch(
    root: Annotated[Path, typer.Argument(help="folder for the official checkpoints")],
) -> None:
    """Download the official checkpoints that have a direct address; say where the others are."""
    from aef_core.official import fetch_official

    fetch_official(root)


def main() -> None:
    """Run the command line; what a user can mend is told in one line, not in a traceback."""
    from aef_core.perturbation import Diverged
    from aef_core.runs import DamagedRun
    from aef_core.zoo import BadCheckpoint

    try:
        app()
    except (ValueError, FileNotFoundError, BadCheckpoint, DamagedRun, Diverged) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
