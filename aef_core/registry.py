"""Things made by name from a literal registry, with errors that list what is known."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

from aef_core.errors import BadInput

T = TypeVar("T")
SMALLEST = 2.0**-126  # positive and normal in float32: what tensors make of less is zero
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
    except TypeError as error:  # a word where a number belongs
        given = ", ".join(f"{k}={v!r}" for k, v in settings.items())
        raise BadInput(f"{kind} {name!r} cannot take {given}: {error}") from None
    check_types(made)
    return made


def check_types(record: Any) -> None:
    """Refuse (ValueError) a dataclass whose plain fields hold another kind of value than they are
    for: a word where a number belongs, 1.5 where a whole number does."""
    for field in fields(record):
        value = getattr(record, field.name)
        kind, words = KINDS.get(field.type, (object, ""))
        if not isinstance(value, kind) or (isinstance(value, bool) and field.type in NUMBERS):
            raise BadInput(f"{field.name} must be {words}, got {value!r}")
        if field.type is float and 0 < abs(value) < SMALLEST:
            raise BadInput(f"{field.name}={value!r} is zero in float32: {SMALLEST:.0e} is not")
