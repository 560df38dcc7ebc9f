"""Command line: `python -m aef_core COMMAND`; the commands live in `aef_core/cli`."""

import typer

from aef_core.cli import photos, project, run, runs

GROUPS = (project, runs, photos)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="AEF: perturbations against several generators. Every command has --help with examples.",
    pretty_exceptions_enable=False,
)
for group in GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command line."""
    run(app)


if __name__ == "__main__":
    main()
