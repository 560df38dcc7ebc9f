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
from torch import Tensor

from aef_core.config import ASSETS, default_device
from aef_core.errors import AEFError, BadInput, is_damaged_file
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
    url: str | None = None  # direct address, if there is one
    member: str | None = None  # path inside the downloaded archive


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
        "http://disi.unitn.it/~hao.tang/uploads/models/AttentionGAN/celeba_256_pretrained.tar.gz",
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
    device = torch.device(device) if device else default_device()
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


def listing(name: str) -> list[dict[str, object]]:
    """An embedded zoo's generators: image size, weights, checksum, and what was measured of them.

    The numbers are those of its `bars.json`; a file that was changed is said to be.
    """
    kept = json.loads((ASSETS / name / "bars.json").read_text())
    rows = []
    for model, entry in zoo_table(name).items():
        file = ASSETS / name / entry["file"]
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "missing"
        bars = kept.get(model, {})
        rows.append(
            {"model": model, "pixels": entry["settings"]["image_size"], "sha256": digest[:12]}
            | {"file": "as shipped" if digest == entry["sha256"] else "CHANGED: reinstall"}
            | {bar: bars.get(bar) for bar in ("edit success", "specialist L2_mask")}
        )
    return rows


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
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise BadCheckpoint(f"{path} does not match its SHA-256 in zoo.json: reinstall the package")
    model = architectures[entry["architecture"]](**entry["settings"])
    model.load_state_dict(read_weights(path))
    loaded(model, folder.name, name, entry["sha256"])
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a safetensors file, floating point ones as float32."""
    try:
        stored = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}): reinstall the package") from None
    return {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}


def _official(root: str | Path, name: str) -> DeepfakeModel:
    entry, path = OFFICIAL[name], Path(root) / OFFICIAL[name].file
    if not path.exists():
        raise BadCheckpoint(f"{path} is missing: get it from {entry.source}")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read ({error.strerror})") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        if not is_damaged_file(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadCheckpoint(f"{path} is not a PyTorch checkpoint of tensors ({reason})") from None
    if entry.key is not None:
        if not isinstance(stored, Mapping) or entry.key not in stored:
            raise BadCheckpoint(f"{path} has no {entry.key!r} entry: not {name}'s checkpoint")
        stored = stored[entry.key]
    model = ARCHITECTURES[name]()
    _check_keys(path, name, model.state_dict(), stored)
    model.load_state_dict(stored)
    loaded(model, "official", name, hashlib.sha256(path.read_bytes()).hexdigest())
    return model


def _check_keys(path: Path, name: str, ours: Mapping[str, Tensor], theirs: object) -> None:
    """One line that names what does not fit, rather than PyTorch's pages."""
    if not isinstance(theirs, Mapping):
        raise BadCheckpoint(f"{path} holds a {type(theirs).__name__}, not {name}'s weights")
    missing = [k for k in ours if k not in theirs]
    foreign = [k for k in theirs if k not in ours]
    shapes = [k for k in ours if k in theirs and ours[k].shape != theirs[k].shape]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("foreign", foreign), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise BadCheckpoint(f"{path} is not {name}'s checkpoint: keys {'; '.join(problems)}")
