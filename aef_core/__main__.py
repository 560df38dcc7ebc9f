"""Command line: `python -m aef_core COMMAND`; the commands live in `aef_core/cli`."""

import sys

import typer

from aef_core.cli import bench, methods, photos, project, rules, runs

GROUPS = (project, runs, photos, methods, rules, bench)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The AEF companion. Every command has --help with examples.",
    pretty_exceptions_enable=False,
)
for group in GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command line; what a user can mend is told in one line, not in a traceback."""
    from aef_core.distributed import LostPeer, joined
    from aef_core.execution import OutOfMemory
    from aef_core.perturbation import Diverged
    from aef_core.run_store import DamagedRun
    from aef_core.zoo import BadCheckpoint

    told = (ValueError, OSError, BadCheckpoint, DamagedRun, Diverged, LostPeer, OutOfMemory)
    try:
        with joined():
            app()
    except told as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
