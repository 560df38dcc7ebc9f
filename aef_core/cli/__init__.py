"""The command line, one module a group of commands; `aef_core.__main__` puts them together.

A group is a `typer.Typer` named `app`. Its functions import what they need when they are called,
so that `--help` answers at once.
"""


def examples(*arguments: str) -> str:
    """The epilog of a command: its examples, one a line."""
    return "\n\n".join(["Examples:", *(f"python -m aef_core {a}" for a in arguments)])
