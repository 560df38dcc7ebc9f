"""The companion's command line, one module a group of commands, as in `aef_core.cli`."""

from functools import partial
from typing import Annotated

import typer

from aef_core.cli import examples as library_examples

examples = partial(library_examples, package="companion")
_PROFILE = "smoke, quick or paper; AEF_PROFILE, else quick"
ProfileName = Annotated[str | None, typer.Option("--profile", help=_PROFILE)]
