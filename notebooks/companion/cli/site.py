"""The command that builds the explorer, the interactive page in front of the site."""

from pathlib import Path
from typing import Annotated

import typer

from companion.cli import ProfileName, examples

app = typer.Typer()


@app.command(epilog=examples("explorer", "explorer --faces 12 --out page.html"))
def explorer(
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("build/site/explorer.html"),
    faces: Annotated[int, typer.Option(min=1, help="faces in the before/after viewer")] = 8,
    profile: ProfileName = None,
) -> None:
    """Build the explorer: weights to play with, faces before and after, in one HTML file.

    Makes the runs it shows (minutes to an hour of CPU, once; finished runs are found again), packs
    pictures, recorded strengths and scripts. The page needs no server and no network.
    """
    from companion.site import explorer_page, gather

    size = explorer_page(gather(profile), out, faces)
    print(f"{out}: {size / 1e6:.1f} MB")
