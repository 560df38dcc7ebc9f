"""Things made by name from a literal registry, with errors that list what is known."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from aef_core.errors import BadInput

T = TypeVar("T")


def make(
    registry: Mapping[str, type[T]], name: str, settings: Mapping[str, Any], kind: str = "method"
) -> T:
    """A fresh dataclass instance of a registry by its name; `kind` is what errors call it.

    Raises
    ------
    ValueError
        Unknown name, unknown setting or a setting out of range; the message lists what is known.
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
    except TypeError as error:  # a word where a number belongs
        given = ", ".join(f"{k}={v!r}" for k, v in settings.items())
        raise BadInput(f"{kind} {name!r} cannot take {given}: {error}") from None
