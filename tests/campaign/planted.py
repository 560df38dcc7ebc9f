"""Defects planted on purpose, one for each end: what shows that the campaign can fail."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from aef_core.errors import BadInput

from . import Case, Harm


def _raises(error: Exception) -> bool:
    raise error


def _overwrites(scratch: Path) -> bool:
    (scratch / "treasure").write_text("mine")
    return True


def planted(seed: int, scale: float) -> Iterator[Case]:
    """A case for each end, named for it, in the order of `ENDS`; then other ways to get there."""
    yield Case("accepted", lambda _: True)
    yield Case("clear line", lambda _: _raises(BadInput("a.png is odd")), "a.png")
    yield Case("unclear", lambda _: _raises(BadInput("it is odd")), "a.png")
    yield Case("traceback", lambda _: _raises(KeyError("a.png")), "a.png")
    yield Case("hang", lambda _: time.sleep(600))
    yield Case("silent nonsense", lambda _: False)
    yield Case("harm", lambda _: _raises(Harm("lost")))
    yield Case("unclear", lambda _: _raises(SystemExit("a.png\nis odd")), "a.png")
    yield Case("unclear", lambda _: _raises(BadInput("a.png")), "a.png", sound=True)
    yield Case("traceback", lambda _: os._exit(3))
    yield Case("silent nonsense", lambda _: _raises(SystemExit(0)))
    yield Case("harm", _overwrites)
    yield Case("harm", lambda scratch: (scratch / ".aef-left").mkdir() or True)
    yield Case("accepted", lambda _: True)
