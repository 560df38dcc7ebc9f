"""What detectors learn from and are judged on: reals, forgeries by every generator, blends.

Everything is made at the generators' size and reduced once, alike for real and fake. Half of the
photographs (A) are forged, the other half (B) blended with themselves, so that the reals of the two
kinds of training data differ, as in CS-DFD. "train" and "val" forge each face of A by one generator
in turn; "test" by all of them and by the unseen one, and blends people of B with each other, too.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.atomic import replacement
from aef_core.config import home
from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, load_faces, to_uint8
from aef_core.faces.pictures import open_picture
from aef_core.faces.sources import SIDE, FileTree, celeba_labels
from aef_core.models import DeepfakeModel
from aef_core.models.zoo import load_zoo
from companion.detectors.blending import blend_pairs
from companion.detectors.faces import FAKE, REAL, FaceSet, faces_of, join
from companion.detectors.landmarks import find_landmarks, stored_landmarks
from companion.provenance import weights
from companion.zoo.photos import HELD_OUT_PEOPLE, SHARP, identities

VERSION = 1  # of the recipe, part of the kept demo sets' names
SIZE = 64  # pixels both detectors see
SPLITS = ("train", "val", "test")
DEMO_FACES = {"train": 256, "val": 96, "test": 96}
LFW = "lfw_deepfunneled_250.zip"


def demo_set(split: str, size: int = SIZE, n: int | None = None, seed: int = 0) -> FaceSet:
    """The embedded faces of nobody, their forgeries and blends: needs no research data.

    Made once per zoo and kept among the runs.

    Parameters
    ----------
    split : {"train", "val", "test"}
        "val" are the last training faces.
    size : int
        Pixels of the returned images.
    n : int, optional
        Photographs the set is made of; `DEMO_FACES` by default.
    seed : int
        Of edits and blends.
    """
    _check(split, n)
    zoo = load_zoo()
    source = "test" if split == "test" else "train"
    every = load_faces("embedded", source)
    n = n or DEMO_FACES[split]
    rows = slice(len(every) - n, None) if split == "val" else slice(n)
    available = len(every) - (DEMO_FACES["val"] if split == "train" else 0)
    if n > available:
        raise BadInput(f"the demo's {split} split has {available} faces, {n} were asked for")
    faces = every[rows]
    digits = zlib.crc32(repr((faces.fingerprint(), weights(zoo), VERSION)).encode())
    path = home() / "detectors" / f"demo-{split}-{size}-{n}-{seed}-{digits:08x}.pt"
    if path.exists():
        return FaceSet(**torch.load(path, weights_only=True))
    points = stored_landmarks(faces, source)
    made = compose(zoo, faces, points, faces.names, split, size, seed)
    with replacement(path) as temporary:
        torch.save(vars(made), temporary)
    return made


def research_set(
    root: str | Path, split: str, size: int = SIZE, n: int = 600, seed: int = 0
) -> FaceSet:
    """CelebA's photographs of 140, 20 and 20 people, their forgeries and blends.

    Parameters
    ----------
    root : path
        Folder that holds `SHARP`, with CelebA's images, attributes and identities.
    n : int
        Photographs the set is made of, drawn by `seed`.

    Raises
    ------
    FileNotFoundError
        The archive or a file in it is missing.
    ValueError
        Unknown split, or more photographs asked for than it has.
    """
    _check(split, n)
    zoo = load_zoo()
    faces, people = celeba_people(root, split, n, SIDE, seed)
    return compose(zoo, faces, find_landmarks(faces.images), people, split, size, seed)


def lfw_set(root: str | Path, size: int = SIZE, n: int = 200, seed: int = 0) -> FaceSet:
    """LFW's test people as a domain of their own: reals of kind "LFW", forgeries and blends."""
    zoo = load_zoo()
    faces = load_faces("lfw", "test", n, Path(root) / LFW)
    people = [Path(name).parent.name for name in faces.names]
    return compose(zoo, faces, find_landmarks(faces.images), people, "test", size, seed, "LFW")


def _check(split: str, n: int | None) -> None:
    if split not in SPLITS:
        raise BadInput(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if n is not None and n < 4:
        raise BadInput(f"n must be at least 4, two photographs each to forge and blend; got {n}")


def split_people(people: Mapping[str, str], split: str) -> list[str]:
    """Photographs of the people of a split, by identity: the last 20 are "test", 20 before "val".

    `people` maps photographs to identities. No generator was trained on the people of "test".
    """
    ids = sorted(set(people.values()), key=int)
    parts = np.split(ids, [len(ids) - 2 * HELD_OUT_PEOPLE, len(ids) - HELD_OUT_PEOPLE])
    own = set(dict(zip(SPLITS, parts, strict=True))[split].tolist())
    return [name for name, who in people.items() if who in own]


def celeba_people(
    root: str | Path, split: str, n: int | None, size: int, seed: int
) -> tuple[FaceBatch, list[str]]:
    """`n` photographs of a split's people, drawn by `seed`, or all; and who is on them."""
    files = FileTree(Path(root) / SHARP)
    people, labels = identities(files), celeba_labels(files)
    names = split_people(people, split)
    if n is not None and n > len(names):
        raise BadInput(f"{SHARP}/{split} has {len(names)} photographs, {n} were asked for")
    chosen = [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:n]]
    paths = {Path(p).name: p for p in files.images()}
    images = []
    for name in chosen:
        image = open_picture(files.read(paths[name]), paths[name])
        top = (image.height - image.width) // 2
        square = image.crop((0, top, image.width, top + image.width)).resize((size, size), 3)
        images.append(torch.from_numpy(np.array(square)).permute(2, 0, 1))
    pixels = torch.stack(images).float() / 127.5 - 1
    own = torch.tensor([labels[name] for name in chosen], dtype=torch.uint8)
    faces = FaceBatch(pixels, own, tuple(chosen), "celeba")
    return faces, [people[name] for name in chosen]


def compose(
    zoo: Mapping[str, DeepfakeModel],
    faces: FaceBatch,
    landmarks: np.ndarray,
    people: list[str] | tuple[str, ...],
    split: str,
    size: int,
    seed: int = 0,
    real: str = "real",
) -> FaceSet:
    """Reals, forgeries and blends of these faces, reduced to `size`; see the module's docstring."""
    rng = np.random.default_rng(seed)
    a, b = np.arange(0, len(faces), 2), np.arange(1, len(faces), 2)
    who_a, who_b = [people[i] for i in a], [people[i] for i in b]
    plain = to_uint8(faces.images)
    sets = [faces_of(plain[a], REAL, real, who_a)]
    for k, (name, model) in enumerate(zoo.items()):
        rows = a if split == "test" else a[k :: len(zoo)]
        forged = forge(model, faces[rows.tolist()], rng)
        sets.append(faces_of(forged, FAKE, name, [people[i] for i in rows]))
    reals, blended, _ = blend_pairs(plain[b], landmarks[b], rng)
    sets += [faces_of(reals, REAL, "SBI real", who_b), faces_of(blended, FAKE, "SBI", who_b)]
    if split == "test":
        sets += [_unseen(faces[a.tolist()], who_a, rng), _cross(plain[b], landmarks[b], who_b, rng)]
    return join(*(faces_of(_resize(s.images, size), int(s.labels[0]), s.kinds[0], s.people)
                  for s in sets if len(s)))  # fmt: skip


@torch.no_grad()
def forge(model: DeepfakeModel, faces: FaceBatch, rng: np.random.Generator) -> Tensor:
    """One forgery of each face by an edit drawn from the model's; uint8, shape [N, 3, S, S]."""
    drawn = rng.choice(model.edits, len(faces))
    device = next(model.parameters()).device
    made = to_uint8(faces.images)
    for edit in model.edits:
        for rows in torch.from_numpy(np.flatnonzero(drawn == edit)).split(16):
            part = faces[rows.tolist()] if len(rows) else None
            if part is not None:
                c = model.conditions(part.attributes, edit).to(device)
                made[rows] = to_uint8(model(part.images.to(device), c).cpu())
    return made


def _unseen(faces: FaceBatch, people: list[str], rng: np.random.Generator) -> FaceSet:
    """Forgeries by the family no detector is trained on, at the size that model works in."""
    from companion.studies.unseen import load_unseen

    ((name, model),) = load_unseen().items()
    small = FaceBatch(_floats(faces.images, model.image_size), faces.attributes, faces.names)
    return faces_of(forge(model, small, rng), FAKE, name, people)


def _cross(
    images: Tensor, landmarks: np.ndarray, people: list[str], rng: np.random.Generator
) -> FaceSet:
    """Each face with the next one's blended in; CelebA's framing has eyes and mouth agree."""
    swapped = blend_pairs(images, landmarks, rng, sources=images.roll(1, 0))[1]
    return faces_of(swapped, FAKE, "cross blend", people)


def _floats(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    resized = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    return resized.clamp(-1, 1)


def _resize(images: Tensor, size: int) -> Tensor:
    """Reduced with antialiasing, uint8 to uint8."""
    return to_uint8(_floats(images.float() / 127.5 - 1, size))
