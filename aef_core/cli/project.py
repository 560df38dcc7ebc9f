"""The command for the generators: what is embedded, and which official checkpoints are there."""

import typer

from aef_core.cli import examples
from aef_core.cli.shared import Official

app = typer.Typer()


@app.command(epilog=examples("zoo", "zoo --official ~/official-weights"))
def zoo(official: Official = None) -> None:
    """List the embedded generators, or say of each official checkpoint if it is there and loads.

    Of the embedded ones: checksum on disk, size, and what was measured on held-out faces: share of
    edits that a judge sees, and mean L2_mask of a perturbation made for this generator alone.
    """
    import pandas as pd

    from aef_core.models.weights import BadCheckpoint
    from aef_core.models.zoo import OFFICIAL, listing, load_zoo

    if official is None:
        print(pd.DataFrame(listing()).set_index("model").to_string())
        return
    for name, entry in OFFICIAL.items():
        try:
            load_zoo("official", official, name, "cpu")
            print(f"{name}: {official / entry.file} is complete")
        except BadCheckpoint as error:
            print(f"{name}: {error}")
