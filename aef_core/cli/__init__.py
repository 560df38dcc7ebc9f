"""The command line, one module a group of commands; `aef_core.__main__` puts them together.

A group is a `typer.Typer` named `app`. Its functions import what they need when they are called,
so that `--help` answers at once.
"""

import os
import sys
from collections.abc import Callable

import typer

from aef_core.errors import AEFError


def examples(*arguments: str, package: str = "aef_core") -> str:
    """The epilog of a command: its examples, one per line."""
    return "\n\n".join(["Examples:", *(f"python -m {package} {a}" for a in arguments)])


def run(app: Callable[..., int | None]) -> None:
    """Run a command line; an `AEFError` ends it with one line instead of a traceback.

    Other errors keep their traceback; with `AEF_DEBUG=1`, an `AEFError` does, too.
    """
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:  # an option that is not there, or no number
        sys.exit(f"error: {AEFError(error.format_message())}")
    except typer.Abort:
        sys.exit(130)
    except AEFError as error:
        if os.environ.get("AEF_DEBUG") == "1":
            raise
        sys.exit(f"error: {error}")
