"""Which weights this session has loaded, so that a figure can name those it was made with.

Whoever loads a generator calls `loaded`; the model carries its origin, for figures of one zoo of
several. Below models and plots, which do not know each other.
"""

from collections.abc import Mapping
from typing import Any

_LOADED: dict[str, dict[str, str]] = {}


def loaded(model: Any, zoo: str, name: str, sha256: str) -> None:
    """Note that generator `name` of a zoo was read from a file with this checksum."""
    model.origin = (zoo, name, sha256[:8])
    _LOADED.setdefault(zoo, {})[name] = sha256[:8]


def weights(zoo: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Zoo to generator to the first eight digits of its file's SHA-256.

    Parameters
    ----------
    zoo : mapping of name to model, optional
        Only the weights of these, "not from a zoo" for one that was not loaded; by default all that
        this session has loaded.
    """
    if zoo is None:
        return {name: dict(sorted(models.items())) for name, models in sorted(_LOADED.items())}
    found: dict[str, dict[str, str]] = {}
    for key, model in zoo.items():
        place, name, digits = getattr(model, "origin", ("not from a zoo", key, ""))
        found.setdefault(place, {})[name] = digits
    return found
