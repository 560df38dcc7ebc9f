"""The companion's command line, one module a group of commands, as in `aef_core.cli`."""

from functools import partial

from aef_core.cli import examples as library_examples

examples = partial(library_examples, package="companion")
