"""Weights from files that may be anything: finite tensors of the right keys and shapes, or a line.

No code that a file brings is ever run.
"""

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from aef_core.errors import AEFError, reason

DAMAGED = ("PytorchStreamReader", "unexpected EOF", "corrupt", "inline_container", "setStorage",
           "resize storage", "wrong byte size", "encrypted")  # fmt: skip


class BadCheckpoint(AEFError, RuntimeError):
    """A checkpoint is missing, corrupt or of another network; the message says which and why."""


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into a network.

    Raises
    ------
    BadCheckpoint
        Unreadable, or not this network's: keys, shapes, types, NaN.
    """
    try:
        stored = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}): reinstall the package") from None
    fill(model, stored, path, type(model).__name__)


def fill(model: nn.Module, stored: object, path: Path, name: str) -> None:
    """Put stored tensors into a network, if they are its own: every key, shape and kind of number.

    Raises
    ------
    BadCheckpoint
        One line that names the keys that do not fit, rather than PyTorch's pages.
    """
    if not isinstance(stored, Mapping):
        raise BadCheckpoint(f"{path} holds a {type(stored).__name__}, not {name}'s weights")
    ours = model.state_dict()
    faults: dict[str, list[str]] = {"missing": [k for k in ours if k not in stored], "foreign": []}
    for key, value in stored.items():
        if fault := _fault(ours.get(key), value):
            faults.setdefault(fault, []).append(str(key))
    problems = [
        f"{len(keys)} {fault} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for fault, keys in faults.items()
        if keys
    ]
    if problems:
        raise BadCheckpoint(f"{path} is not {name}'s checkpoint: keys {'; '.join(problems)}")
    model.load_state_dict(stored)


def _fault(ours: Tensor | None, theirs: object) -> str:
    """What keeps a stored value from taking the place of ours; empty if nothing does."""
    if ours is None:
        return "foreign"
    if (
        not isinstance(theirs, Tensor)
        or theirs.layout != torch.strided
        or (theirs.is_quantized or theirs.is_meta)
    ):
        return "that hold no plain tensor"
    if theirs.shape != ours.shape:
        return "of another shape"
    if theirs.is_floating_point() != ours.is_floating_point() or theirs.is_complex():
        return f"of type {str(theirs.dtype).removeprefix('torch.')}"
    # in float32, as it will be: 1e300 is infinite there
    return "" if theirs.float().isfinite().all() else "with NaN or infinite values"


def unpickled(path: Path, source: str) -> object:
    """What a checkpoint holds, tensors and plain values only; no code of its own is run."""
    cure = f"get it from {source}"
    try:
        if zipfile.is_zipfile(path):  # PyTorch does not look at its checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} was changed")
        with path.open("rb") as file:
            stored = torch.load(file, map_location="cpu", weights_only=True)
            if file.read(1) and not zipfile.is_zipfile(path):  # the old format has no checksums
                raise zipfile.BadZipFile("bytes are left over")
            return stored
    except pickle.UnpicklingError:  # its message advises to run what the file brings
        said = "damaged, or it holds code to run, which is refused"
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle ends in whatever its bytes happen to ask for
        if not is_damaged_file(error):
            raise
        said = reason(error)
    raise BadCheckpoint(f"{path} is not a PyTorch checkpoint of tensors ({said}): {cure}")


def is_damaged_file(error: Exception) -> bool:
    """Whether `torch.load` complains of its file: any RuntimeError of its own reads otherwise."""
    return not isinstance(error, RuntimeError) or any(word in str(error) for word in DAMAGED)


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
