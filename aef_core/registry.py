"""Things made by name from a literal registry, and their settings; errors list what is known."""

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar

from aef_core.errors import BadInput

T = TypeVar("T")
SMALLEST, LARGEST = 2.0**-126, 3.4e38  # beyond, float32 has zero or infinity
NUMBERS = {int: (Integral, "a whole number"), float: (Real, "a number")}
KINDS = NUMBERS | {bool: (bool, "True or False"), str: (str, "a word")}
PER_GENERATOR = "positive numbers, one per generator"
RANGES: dict[str, Callable[[Any], bool]] = {
    "positive": lambda v: v > 0,
    "0 or more": lambda v: 0 <= v < math.inf,
    "1 or more": lambda v: v >= 1,
    "in [0, 1)": lambda v: 0 <= v < 1,
    "in (0, 1)": lambda v: 0 < v < 1,
    "in (0, 1]": lambda v: 0 < v <= 1,
    "in [0, 1]": lambda v: 0 <= v <= 1,
    "in (0, 2]": lambda v: 0 < v <= 2,
    PER_GENERATOR: lambda values: all(0 < v < math.inf for v in values),
}


def make(
    registry: Mapping[str, type[T]], name: str, settings: Mapping[str, Any], kind: str = "method"
) -> T:
    """A fresh dataclass instance of a registry by its name; `kind` is what errors call it.

    Raises ValueError for an unknown name or setting (the message lists what is known), and for a
    value of the wrong type or out of range.
    """
    if name not in registry:
        raise BadInput(f"unknown {kind} {name!r}; known: {', '.join(registry)}")
    known = [f.name for f in fields(registry[name]) if f.init]
    for setting in settings:
        if setting not in known:
            has = ", ".join(known) or "none"
            raise BadInput(f"{kind} {name!r} has no setting {setting!r}; it has: {has}")
    try:
        return registry[name](**settings)
    except (TypeError, OverflowError) as error:  # a word where a number belongs, or 10**400
        given = ", ".join(f"{k}={short(v)}" for k, v in settings.items())
        raise BadInput(f"{kind} {name!r} cannot take {given}: {error}") from None


def setting(default: Any, allowed: str) -> Any:
    """A dataclass field with a default; `allowed` is a key of `RANGES`, or "one of raw, l1"."""
    return field(default=default, metadata={"allowed": allowed})


class Settings:
    """A dataclass that checks its fields; ValueError names the first that does not fit.

    Refused are a word for a number, 1.5 for a whole number, a number that float32 or int64 cannot
    hold, and what a `setting` does not allow. Numbers of other libraries become Python's.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, checked(f, getattr(self, f.name)))

    def settings(self) -> dict[str, Any]:
        """All of them, for a run's config."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}


def checked(f: Field, value: Any) -> Any:
    """A value for a field of `Settings`, of the field's own type."""
    allowed = f.metadata.get("allowed", "")
    if allowed == PER_GENERATOR:
        value = tuple(float(v) for v in value or ())
    kind, words = KINDS.get(f.type, (object, ""))
    if not isinstance(value, kind) or (isinstance(value, bool) and f.type in NUMBERS):
        raise BadInput(f"{f.name} must be {words}, got {short(value)}")
    if f.type is float and value != 0 and not SMALLEST <= abs(value) <= LARGEST:
        kind = "zero" if abs(value) < 1 else "no finite number"
        raise BadInput(f"{f.name}={short(value)} is {kind} in float32")
    if f.type is int and not abs(value) < 2**63:
        raise BadInput(f"{f.name} is out of range: {short(value)}, must be an int64")
    fits = RANGES.get(allowed, allowed.removeprefix("one of ").split(", ").__contains__)
    if allowed and not fits(value):
        raise BadInput(f"{f.name} must be {allowed}, got {value!r}")
    foreign = f.type in NUMBERS and type(value) not in (int, float)  # NumPy's, a fraction
    return f.type(value) if foreign else value


def short(value: Any) -> str:
    """A value as Python writes it, its first 60 letters."""
    return repr(value)[:60]


def check_count(name: str, value: Any, most: int | None = None) -> None:
    """Refuse, with a ValueError, what is no whole number from 1 to `most`."""
    if type(value) is not int or not 1 <= value < 2**63 or value > (most or value):
        span = f"from 1 to {most}" if most else "of at least 1"
        raise BadInput(f"{name} must be a whole number {span}, got {short(value)}")
