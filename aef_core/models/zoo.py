"""Generators by name: the embedded zoo, and the official checkpoints a user has downloaded."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from aef_core.config import ASSETS, default_device
from aef_core.errors import BadInput, NotFound, must_be_file
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.weights import BadCheckpoint, fill, load_weights, sha256_of, unpickled
from aef_core.provenance import loaded

EMBEDDED = ("celeba64",)  # in every installation
PREFERRED = ("faces128", *EMBEDDED)  # `load_zoo()` takes the first that holds all it is asked for


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
    device = default_device(device)
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
        digest = sha256_of(file) if file.exists() else "missing"
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
    if sha256_of(path) != entry["sha256"]:
        raise BadCheckpoint(f"{path} does not match its SHA-256 in zoo.json: reinstall the package")
    model = architectures[entry["architecture"]](**entry["settings"])
    load_weights(model, path)
    loaded(model, folder.name, name, entry["sha256"])
    return model


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
    stored = unpickled(path, entry.source)
    if entry.key is not None:
        if not isinstance(stored, Mapping) or entry.key not in stored:
            raise BadCheckpoint(f"{path} has no {entry.key!r} entry: not {name}'s checkpoint")
        stored = stored[entry.key]
    model = ARCHITECTURES[name]()
    fill(model, stored, path, name)
    loaded(model, "official", name, digest)
    return model
