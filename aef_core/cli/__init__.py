"""The command line, one module a group of commands; `aef_core.__main__` puts them together.

A group is a `typer.Typer` named `app`. Its functions import what they need when they are called,
so that `--help` answers at once.
"""

import sys
from collections.abc import Callable


def examples(*arguments: str, package: str = "aef_core") -> str:
    """The epilog of a command: its examples, one a line."""
    return "\n\n".join(["Examples:", *(f"python -m {package} {a}" for a in arguments)])


def run(app: Callable[[], None]) -> None:
    """Run a command line; what a user can mend is told in one line, not in a traceback."""
    from aef_core.distributed import LostPeer, joined
    from aef_core.models.zoo import BadCheckpoint
    from aef_core.perturbation import Diverged
    from aef_core.perturbation.execution import OutOfMemory
    from aef_core.perturbation.store import DamagedRun

    told = (ValueError, OSError, BadCheckpoint, DamagedRun, Diverged, LostPeer, OutOfMemory)
    try:
        with joined():
            app()
    except told as error:
        sys.exit(f"error: {error}")
