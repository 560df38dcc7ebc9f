"""The command that measures the loop."""

from typing import Annotated

import typer

from companion.cli import examples

app = typer.Typer()


@app.command(epilog=examples("bench", "bench --quick", "bench --write", "bench --compile"))
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="tiny generators, seconds")] = False,
    size: Annotated[
        str, typer.Option(help="embedded, or random ones: tiny (32 px), official (256 px)")
    ] = "embedded",
    batch: Annotated[int, typer.Option(help="images per step")] = 8,
    repetitions: Annotated[int, typer.Option(help="paired rounds, 5 at least to be kept")] = 7,
    check: Annotated[
        bool, typer.Option("--check", help="compare with the kept ratios; fail if worse")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="keep these ratios")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile, too; minutes")
    ] = False,
) -> None:
    """Time per step against the floor and against a published-style loop, as paired ratios.

    The floor is one forward and one input-gradient backward per generator. Runs on `AEF_DEVICE`, a
    GPU if there is one. Leave the machine alone meanwhile.
    """
    from companion.bench.report import report

    report("tiny" if quick else size, batch, repetitions, check, write, compiled)
