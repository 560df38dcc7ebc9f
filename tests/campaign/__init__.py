"""A hostile campaign from fixed seeds: what this package makes of what it ought not to meet.

    make campaign

A kind of attack is a batch and runs in a fresh process (`child`), which says what it begins before
it begins: a case that hangs or dies is known by name, and the batch goes on behind it. Every case
has a scratch folder and a store of its own. Its end is one of `ENDS`; only the first two are good.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ENDS = ("accepted", "clear line", "unclear", "traceback", "hang", "silent nonsense", "harm")
GOOD = ENDS[:2]
KINDS = {  # row of the table -> module and generator of its cases
    "kill -9": "store.kills",
    "concurrent writers": "store.writers",
    "full disk": "store.full_disks",
    "read-only home": "store.read_only_homes",
    "damaged store entries": "damage.damaged",
    "photos": "files.photos",
    "labels": "files.labels",
    "weights": "weights.weights",
    "zips": "files.zips",
    "settings": "words.settings",
    "command lines": "words.command_lines",
}


class Harm(Exception):
    """Raised by a case that finds a file it had put down changed or gone, or a result lost."""


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes
    ----------
    name : str
        What is done, for the list of bad ends.
    act : callable
        Does it, in the scratch folder it is given; what it returns is truthy if a right result came
        out, falsy if nonsense was taken for good.
    culprit : str
        Must be in the message for a refusal to be clear.
    sound : bool
        Nothing is wrong with it: a refusal would be a defect, and the batch blind.
    """

    name: str
    act: Callable[[Path], object]
    culprit: str = ""
    sound: bool = False


def cases(kind: str, seed: int, scale: float) -> Iterator[Case]:
    """The cases of a kind; `scale` multiplies how many are drawn."""
    module, name = KINDS.get(kind, kind).split(".")
    return getattr(import_module(f"{__name__}.{module}"), name)(seed, scale)
