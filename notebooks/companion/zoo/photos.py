"""The photographs generators are trained on, and those they are judged on: CelebA, by identity.

Two files of research data: 180 people with 30 sharp photographs each and known identity, and the
first 9,000 of CelebA at half size. No photograph of either enters the repository.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_core.faces.labels import read_labels
from aef_core.faces.pictures import open_picture
from aef_core.models.base import ATTRIBUTES

SHARP, HALF = "celeba_5400_178x218.zip", "celeba_9000_89x109.zip"
HELD_OUT_PEOPLE = 20  # of 180, the last by identity number: 600 photographs judge, 4,800 train


@dataclass(frozen=True)
class Photos:
    """Photographs of one split.

    Attributes
    ----------
    pixels : Tensor, uint8, shape [N, 3, S, S]
    attributes : Tensor, uint8, shape [N, 13], values 0 or 1, in the order of `ATTRIBUTES`
    """

    pixels: Tensor
    attributes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> "Photos":
        return Photos(self.pixels.to(device), self.attributes.to(device))

    def faces(self, rows: Tensor) -> Tensor:
        """Images in [-1, 1], shape [len(rows), 3, S, S]."""
        return self.pixels[rows].float() / 127.5 - 1


def load_photos(root: Path, split: str, size: int, half: bool = True) -> Photos:
    """Photographs of `split`, "train" or "test".

    Parameters
    ----------
    root : path
        Folder with the two archives.
    size : int
        Pixels; the square around the face (178 of 218) is resized to it.
    half : bool
        Whether the half-size archive joins the training photographs (89 pixels of face: sharp at
        96, soft at 128).

    Raises
    ------
    FileNotFoundError
        An archive is missing.
    """
    with zipfile.ZipFile(root / SHARP) as archive:
        people = dict(line.split() for line in _text(archive, "identity_CelebA.txt"))
        held_out = set(sorted(set(people.values()), key=int)[-HELD_OUT_PEOPLE:])
        names = [n for n, p in people.items() if (p in held_out) == (split == "test")]
        images, labels = _read(archive, names, size)
    if half and split == "train":
        with zipfile.ZipFile(root / HALF) as archive:
            # a photograph of both archives is taken from the sharp one
            rows = [line.split()[0] for line in _text(archive, "list_attr_celeba.txt")[2:]]
            more, more_labels = _read(archive, [n for n in rows if n not in people], size)
        images, labels = images + more, labels + more_labels
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Photos(pixels, torch.tensor(labels, dtype=torch.uint8))


def _text(archive: zipfile.ZipFile, name: str) -> list[str]:
    return archive.read(f"celeba/{name}").decode().strip().splitlines()


def _read(
    archive: zipfile.ZipFile, names: list[str], size: int
) -> tuple[list[np.ndarray], list[list[int]]]:
    table = "celeba/list_attr_celeba.txt"
    header, rows = read_labels(archive.read(table), table)
    wanted = [header.index(name) for name in ATTRIBUTES]
    images = []
    for name in names:
        image = open_picture(archive.read(f"celeba/img_align_celeba/{name}"), name)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        images.append(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)))
    return images, [[rows[name][i] for i in wanted] for name in names]
