"""The weights behind a figure: which files the generators it shows were read from."""

from collections.abc import Mapping
from typing import Any

from aef_core.models import zoo as loader


def weights(zoo: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Zoo to generator to the first eight digits of its file's SHA-256.

    Of the given models ("not from a zoo" if they were not loaded), or of all this session loaded.
    """
    if zoo is None:
        every = sorted(loader.LOADED.items())
        return {name: dict(sorted(models.items())) for name, models in every}
    found: dict[str, dict[str, str]] = {}
    for key, model in zoo.items():
        place, name, digits = getattr(model, "origin", ("not from a zoo", key, ""))
        found.setdefault(place, {})[name] = digits
    return found
