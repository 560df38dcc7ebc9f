"""Commands for the tour itself: run the notebooks, measure the embedded generators."""

from pathlib import Path
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


@app.command(epilog=examples("zoo", "zoo --celeba ~/celeba --n 60"))
def zoo(
    celeba: Annotated[
        Path | None, typer.Option(help="CelebA folder or zip; measure the bars on its test split")
    ] = None,
    n: Annotated[int, typer.Option(help="faces to measure on")] = 120,
    write: Annotated[bool, typer.Option(help="keep the numbers in bars.json")] = False,
    name: Annotated[
        str, typer.Option("--zoo", "--name", help="celeba64, or larger: faces128")
    ] = "celeba64",
    model: Annotated[
        list[str] | None, typer.Option(help="only this one anew, the others as kept; repeatable")
    ] = None,
) -> None:
    """Show an embedded zoo and measure it: are its edits right, can it be interrupted?

    Takes about two minutes. Measured on held-out CelebA faces with --celeba, else on the embedded
    test faces.
    """
    from aef_core.models.zoo import installed, zoo_table
    from companion.training.bars import report

    if name not in installed():
        raise typer.BadParameter(f"unknown zoo {name!r}; known: {', '.join(installed())}")
    for one in model or ():
        if one not in (held := zoo_table(name)):
            raise typer.BadParameter(f"unknown model {one!r}; known: {', '.join(held)}")
    report(celeba, n, write, name, model)
