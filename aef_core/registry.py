"""Things made by name from a literal registry, with errors that list what is known."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

from aef_core.errors import BadInput

T = TypeVar("T")
SMALLEST, LARGEST = 2.0**-126, 3.4e38  # beyond, float32 has zero or infinity
NUMBERS = {int: (Integral, "a whole number"), float: (Real, "a number")}
KINDS = NUMBERS | {bool: (bool, "True or False"), str: (str, "a word")}


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
        made = registry[name](**settings)
    except (TypeError, OverflowError) as error:  # a word where a number belongs, or 10**400
        given = ", ".join(f"{k}={short(v)}" for k, v in settings.items())
        raise BadInput(f"{kind} {name!r} cannot take {given}: {error}") from None
    check_types(made)
    return made


def check_types(record: Any) -> None:
    """Refuse a dataclass whose plain fields hold another kind of value than they are for.

    Raises ValueError for a word where a number belongs, 1.5 where a whole number does, a number
    that float32 or int64 cannot hold; named. Numbers of other libraries become Python's.
    """
    for field in fields(record):
        value = getattr(record, field.name)
        kind, words = KINDS.get(field.type, (object, ""))
        if not isinstance(value, kind) or (isinstance(value, bool) and field.type in NUMBERS):
            raise BadInput(f"{field.name} must be {words}, got {short(value)}")
        if field.type is float and value != 0 and not SMALLEST <= abs(value) <= LARGEST:
            kind = "zero" if abs(value) < 1 else "no finite number"
            raise BadInput(f"{field.name}={short(value)} is {kind} in float32")
        if field.type is int and not abs(value) < 2**63:
            raise BadInput(f"{field.name} is out of range: {short(value)}, must be an int64")
        if field.type in NUMBERS and type(value) not in (int, float):
            object.__setattr__(record, field.name, field.type(value))  # NumPy's, a fraction


def short(value: Any) -> str:
    """A value as Python writes it, its first 60 letters."""
    return repr(value)[:60]


def check_count(name: str, value: Any) -> None:
    """Refuse what is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**63:
        raise BadInput(f"{name} must be at least 1, a whole number, got {short(value)}")
