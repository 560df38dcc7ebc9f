"""Weights from a file that may hold anything: those that fit the network, or a one-line refusal.

Finite tensors fit, under the network's own keys and in its shapes. No code in a file is ever run.
"""

import hashlib
import pickle
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from aef_core.errors import AEFError, must_be_file, reason

REINSTALL = "reinstall the package"
DAMAGED = ("PytorchStreamReader", "unexpected EOF", "corrupt", "inline_container", "setStorage",
           "resize storage", "wrong byte size", "encrypted")  # fmt: skip


class BadCheckpoint(AEFError, RuntimeError):
    """A checkpoint is missing, corrupt or of another network; the message says which and why."""


def load_weights(
    model: nn.Module,
    path: Path,
    cure: str = REINSTALL,
    key: str | None = None,
    sha256: str | None = None,
) -> str:
    """Put a file's tensors into a network, if they are its own; returns the file's SHA-256.

    Parameters
    ----------
    path : Path
        A `.safetensors` file, or a PyTorch checkpoint.
    cure : str
        What a refusal advises.
    key, sha256 : str, optional
        Where the weights lie in a larger checkpoint; the checksum that the file must have.

    Raises
    ------
    BadCheckpoint
        The file is missing or damaged, has another checksum, holds code to run or other weights.
    """
    try:
        must_be_file(path, cure)
        digest = sha256_of(path)
    except (AEFError, OSError) as error:
        raise BadCheckpoint(str(error)) from None
    if sha256 not in (None, digest):
        raise BadCheckpoint(f"{path} does not match its SHA-256: {cure}")
    stored, name = _read(path, cure), type(model).__name__
    if key is not None:
        stored = stored.get(key) if isinstance(stored, Mapping) else None
    if not isinstance(stored, Mapping):
        place = "" if key is None else f" under {key!r}"
        raise BadCheckpoint(f"{path} is not {name}'s checkpoint: it holds no weights{place}")
    if faults := _faults(model.state_dict(), stored):
        raise BadCheckpoint(f"{path} is not {name}'s checkpoint: keys {'; '.join(faults)}")
    model.load_state_dict(stored)
    return digest


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, cure: str) -> object:
    """What a file holds, tensors and plain values only."""
    kind = "safetensors file" if path.suffix == ".safetensors" else "PyTorch checkpoint of tensors"
    try:
        return safetensors.torch.load_file(path) if kind[0] == "s" else _unpickled(path)
    except pickle.UnpicklingError:  # its message advises to run what the file brings
        said = "damaged, or it holds code to run, which is refused"
    except Exception as error:  # a damaged pickle ends in whatever its bytes happen to ask for
        if isinstance(error, MemoryError) or not is_damaged_file(error):
            raise
        said = reason(error)
    raise BadCheckpoint(f"{path} is not a {kind} ({said}): {cure}")


def _unpickled(path: Path) -> object:
    """What `torch.load` makes of it, with the checks that PyTorch leaves out."""
    if zipped := zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} was changed")
    with path.open("rb") as file:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        if not zipped and file.read(1):  # the old format has no checksums
            raise zipfile.BadZipFile("bytes are left over")
    return stored


def _faults(ours: Mapping[str, Tensor], stored: Mapping) -> list[str]:
    """What is wrong with stored weights, each with up to three keys; empty if they are ours."""
    keys = defaultdict(list, missing=[k for k in ours if k not in stored], foreign=[])
    for key, value in stored.items():
        keys[_fault(ours.get(key), value)].append(str(key))
    return [
        f"{len(bad)} {fault} ({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''})"
        for fault, bad in keys.items()
        if fault and bad
    ]


def _fault(ours: Tensor | None, theirs: object) -> str:
    """What keeps a stored value from taking the place of ours; empty if nothing does."""
    if ours is None:
        return "foreign"
    strided = isinstance(theirs, Tensor) and theirs.layout == torch.strided
    if not strided or theirs.is_quantized or theirs.is_meta:
        return "that hold no plain tensor"
    if theirs.shape != ours.shape:
        return "of another shape"
    if theirs.is_floating_point() != ours.is_floating_point() or theirs.is_complex():
        return f"of type {str(theirs.dtype).removeprefix('torch.')}"
    # in float32, as it will be: 1e300 is infinite there
    return "" if theirs.float().isfinite().all() else "with NaN or infinite values"


def is_damaged_file(error: Exception) -> bool:
    """Whether `torch.load` complains of its file: any RuntimeError of its own reads otherwise."""
    return not isinstance(error, RuntimeError) or any(word in str(error) for word in DAMAGED)
