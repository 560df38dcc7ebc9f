"""Command line: `python -m companion COMMAND`; the commands live in `companion/cli`."""

import typer

from aef_core.cli import run
from companion.cli import bench, detect, kept, project, rules, site

GROUPS = (project, kept, rules, bench, detect, site)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The tour through AEF. Every command has --help with examples.",
    pretty_exceptions_enable=False,
)
for group in GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command line."""
    run(app)


if __name__ == "__main__":
    main()
