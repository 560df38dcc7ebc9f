"""Which weights this session has loaded, so that a figure can name those it was made with."""

from typing import Any

LOADED: dict[str, dict[str, str]] = {}  # zoo to generator to eight digits of its file's SHA-256


def loaded(model: Any, zoo: str, name: str, sha256: str) -> None:
    """Note, here and on the model, that it is a zoo's `name`, from a file of this checksum."""
    model.origin = (zoo, name, sha256[:8])
    LOADED.setdefault(zoo, {})[name] = sha256[:8]
