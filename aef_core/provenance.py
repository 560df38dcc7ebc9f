"""Which weights this session has loaded, so that a figure can name those it was made with.

Below models and plots, which do not know each other.
"""

from collections.abc import Mapping
from typing import Any

_LOADED: dict[str, dict[str, str]] = {}


def loaded(model: Any, zoo: str, name: str, sha256: str) -> None:
    """Note, here and on the model, that it is a zoo's `name`, from a file of this checksum."""
    model.origin = (zoo, name, sha256[:8])
    _LOADED.setdefault(zoo, {})[name] = sha256[:8]


def weights(zoo: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Zoo to generator to the first eight digits of its file's SHA-256.

    Of the given models ("not from a zoo" if they were not loaded), or of all this session loaded.
    """
    if zoo is None:
        return {name: dict(sorted(models.items())) for name, models in sorted(_LOADED.items())}
    found: dict[str, dict[str, str]] = {}
    for key, model in zoo.items():
        place, name, digits = getattr(model, "origin", ("not from a zoo", key, ""))
        found.setdefault(place, {})[name] = digits
    return found
