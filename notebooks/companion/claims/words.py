"""The words a claim can get, and how they are chosen."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from companion.studies.differences import ABOVE_NOTHING, NO_EFFECT

HOLDS, PART, NOT = "holds", "holds in part", "does not hold here"
CANNOT, OPEN = "cannot be tested here", "not measured yet"
WORDS = (HOLDS, PART, NOT, NO_EFFECT, CANNOT, OPEN)


class Verdict(NamedTuple):
    """A word of `WORDS`, and the numbers it rests on in one line."""

    word: str
    numbers: str


def grade(full: bool, part: bool) -> str:
    """The word for a criterion met in full, in part, or not."""
    return HOLDS if full else PART if part else NOT


def grade_all(words: Mapping[Any, str]) -> str:
    """The word for a criterion that asks for "better" everywhere, in part: somewhere.

    Where nothing came out better or worse, there was no detectable effect.
    """
    better = [word == "better" for word in words.values()]
    if set(words.values()) <= {NO_EFFECT, ABOVE_NOTHING}:
        return NO_EFFECT
    return grade(all(better), any(better))
