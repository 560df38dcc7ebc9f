"""Generators by name: the embedded zoo, and the official checkpoints a user has downloaded."""

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from aef_core.config import ASSETS, default_device, usable_device
from aef_core.errors import AEFError, BadInput, NotFound, is_damaged_file, must_be_file
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.provenance import loaded

EMBEDDED = ("celeba64",)  # in every installation
PREFERRED = ("faces128", *EMBEDDED)  # `load_zoo()` takes the first that holds all it is asked for


class BadCheckpoint(AEFError, RuntimeError):
    """A checkpoint is missing, corrupt or of another network; the message says which and why."""


@dataclass(frozen=True)
class OfficialCheckpoint:
    """Where a public checkpoint lies and how it is wrapped."""

    file: str  # below the root
    key: str | None  # of the weights inside the stored dict, None if they are the dict
    source: str
    url: str | None = None  # direct https address, if there is one
    member: str | None = None  # path inside the downloaded archive
    sha256: str | None = None  # of the file, where a copy is known to be good


OFFICIAL: dict[str, OfficialCheckpoint] = {
    "StarGAN": OfficialCheckpoint(
        "stargan/200000-G.ckpt",
        None,
        "github.com/yunjey/stargan, download.sh, celeba-256x256-5attrs.zip",
    ),
    "AttentionGAN": OfficialCheckpoint(
        "attentiongan/200000-G.ckpt",
        None,
        "github.com/Ha0Tang/AttentionGAN, celeba_256_pretrained.tar.gz",
        "https://disi.unitn.it/~hao.tang/uploads/models/AttentionGAN/celeba_256_pretrained.tar.gz",
        "200000-G.ckpt",
    ),
    "AttGAN": OfficialCheckpoint(
        "attgan/weights.199.pth",
        "G",
        "github.com/elvisyjlin/AttGAN-PyTorch, 256_shortcut1_inject0_none, bit.ly/attgan-pretrain",
    ),
    "HiSD": OfficialCheckpoint(
        "hisd/gen_00600000.pt",
        "gen_test",
        "github.com/imlixinyang/HiSD, Google Drive id 1KDrNWLejpo02fcalUOrAJOl1hGoccBKl",
    ),
}


def load_zoo(
    name: str | None = None,
    root: str | Path | None = None,
    models: list[str] | str | None = None,
    device: str | torch.device | None = None,
) -> dict[str, DeepfakeModel]:
    """Frozen generators in eval mode, by display name, in a fixed order.

    Parameters
    ----------
    name : {"faces128", "celeba64", "official"}, optional
        By default the embedded zoo of 128 pixels if it holds all that is asked for, else
        "celeba64"; "official" needs `root` (see docs/official-weights.md).
    root : path, optional
        Folder that holds the official checkpoints, laid out as `OFFICIAL` says.
    models : list of str or str, optional
        Only these, e.g. ["StarGAN"]; all the zoo has by default.
    device : optional
        `AEF_DEVICE`, CUDA or the CPU by default.

    Raises
    ------
    ValueError
        Unknown zoo or model, or "official" without root.
    BadCheckpoint
        A file is missing, corrupt, or its keys or shapes are not the architecture's.
    """
    embedded = installed()
    models = [models] if isinstance(models, str) else models
    name = name or first_that_holds(models or ARCHITECTURES)
    if name not in (*embedded, "official"):
        raise BadInput(f"unknown zoo {name!r}; known: {', '.join(embedded)}, official")
    if name == "official" and root is None:
        raise BadInput("load_zoo('official') needs root=; see docs/official-weights.md")
    held = [m for m in ARCHITECTURES if name == "official" or m in zoo_table(name)]
    wanted = held if models is None else list(models)
    for model in wanted:
        if model not in held:
            raise BadInput(f"unknown model {model!r}; known: {', '.join(held)}")
    load = _official if name == "official" else read_model
    folder = Path(root) if name == "official" else ASSETS / name
    device = usable_device(device) if device else default_device()
    return {m: load(folder, m).eval().requires_grad_(False).to(device) for m in wanted}


def installed() -> tuple[str, ...]:
    """Names of the embedded zoos this installation has, the preferred one first."""
    return tuple(n for n in PREFERRED if (ASSETS / n / "zoo.json").exists())


def first_that_holds(models: Iterable[str]) -> str:
    """The preferred embedded zoo that holds these generators; the smallest zoo if none does."""
    fitting = (n for n in installed() if set(models) <= set(zoo_table(n)))
    return next(fitting, EMBEDDED[-1])


def zoo_table(name: str = "celeba64") -> dict[str, dict]:
    """Architecture, settings, checksum and training record of each embedded generator."""
    return json.loads((ASSETS / name / "zoo.json").read_text())


def read_model(
    folder: Path, name: str, architectures: Mapping[str, type[DeepfakeModel]] = ARCHITECTURES
) -> DeepfakeModel:
    """A generator as the `zoo.json` of its folder describes it.

    Raises
    ------
    BadCheckpoint
        Its file is missing or does not match its checksum.
    """
    entry = json.loads((folder / "zoo.json").read_text())[name]
    path = folder / entry["file"]
    if not path.exists():
        raise BadCheckpoint(f"{path} is missing: reinstall the package")
    if sha256_of(path) != entry["sha256"]:
        raise BadCheckpoint(f"{path} does not match its SHA-256 in zoo.json: reinstall the package")
    model = architectures[entry["architecture"]](**entry["settings"])
    load_weights(model, path)
    loaded(model, folder.name, name, entry["sha256"])
    return model


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
    faults: dict[str, list[str]] = {"missing": [k for k in ours if k not in stored]}
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
    if not isinstance(theirs, Tensor) or theirs.layout != torch.strided or theirs.is_quantized:
        return "that hold no plain tensor"
    if theirs.shape != ours.shape:
        return "of another shape"
    if theirs.is_floating_point() != ours.is_floating_point() or theirs.is_complex():
        return f"of type {str(theirs.dtype).removeprefix('torch.')}"
    # in float32, as it will be: 1e300 is infinite there
    return "" if theirs.float().isfinite().all() else "with NaN or infinite values"


def _official(root: Path, name: str) -> DeepfakeModel:
    return read_official(root / OFFICIAL[name].file, name)


def read_official(path: Path, name: str) -> DeepfakeModel:
    """A generator from its public checkpoint, on the CPU.

    Raises
    ------
    BadCheckpoint
        The file is missing, damaged, another network's, or holds more than tensors.
    """
    entry = OFFICIAL[name]
    try:
        must_be_file(path, f"get it from {entry.source}")
    except NotFound:
        raise BadCheckpoint(f"{path} is missing: get it from {entry.source}") from None
    except BadInput as error:
        raise BadCheckpoint(str(error)) from None
    digest = sha256_of(path)
    if entry.sha256 not in (None, digest):
        raise BadCheckpoint(f"{path} has another SHA-256 than {name}'s: get it from {entry.source}")
    stored = _unpickled(path, entry.source)
    if entry.key is not None:
        if not isinstance(stored, Mapping) or entry.key not in stored:
            raise BadCheckpoint(f"{path} has no {entry.key!r} entry: not {name}'s checkpoint")
        stored = stored[entry.key]
    model = ARCHITECTURES[name]()
    fill(model, stored, path, name)
    loaded(model, "official", name, digest)
    return model


def _unpickled(path: Path, source: str) -> object:
    """What a checkpoint holds, tensors and plain values only; no code of its own is run."""
    cure = f"get it from {source}"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read ({error.strerror}): {cure}") from None
    except pickle.UnpicklingError:  # its message advises to run what the file brings
        reason = "damaged, or it holds code to run, which is refused"
        raise BadCheckpoint(f"{path} is not a PyTorch checkpoint of tensors ({reason}): {cure}"
                            ) from None  # fmt: skip
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle ends in whatever its bytes happen to ask for
        if not is_damaged_file(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadCheckpoint(f"{path} is not a PyTorch checkpoint ({reason}): {cure}") from None


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
