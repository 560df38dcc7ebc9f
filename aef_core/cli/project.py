"""The command for the generators: which are there, and load."""

import typer

from aef_core.cli import examples
from aef_core.cli.shared import Official

app = typer.Typer()


@app.command(epilog=examples("zoo", "zoo --official ~/official-weights"))
def zoo(official: Official = None) -> None:
    """Say of each embedded generator, or official checkpoint, whether its file is whole and loads.

    What was measured of the embedded ones is in aef_core/assets/zoo/MODEL_CARD.md.
    """
    from aef_core.models.weights import BadCheckpoint
    from aef_core.models.zoo import EMBEDDED, OFFICIAL, checkpoints, load_zoo

    kind, folder = ("official", official) if official else (None, EMBEDDED)
    for name, entry in (OFFICIAL if official else checkpoints(EMBEDDED)).items():
        try:
            load_zoo(kind, folder, name, "cpu")
            print(f"{name}: {folder / entry.file} is complete")
        except BadCheckpoint as error:
            print(f"{name}: {error}")
