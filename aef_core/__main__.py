"""Command line: `python -m aef_core COMMAND`; the commands live in `aef_core/cli`."""

import os
import sys

import typer

from aef_core.cli import bench, methods, photos, project, runs

GROUPS = (project, runs, photos, methods, bench)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The AEF companion. Every command has --help with examples.",
    pretty_exceptions_enable=False,
)
for group in GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command line; what a user can mend is told in one line, not in a traceback.

    Every other error keeps its traceback; `AEF_DEBUG=1` shows all of them.
    """
    from aef_core.distributed import joined
    from aef_core.errors import AEFError
    from aef_core.perturbation import Diverged
    from aef_core.run_store import DamagedRun

    try:
        with joined():
            app()
    except (AEFError, DamagedRun, Diverged) as error:
        if os.environ.get("AEF_DEBUG") == "1":
            raise
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
