"""The photographs generators are trained on, and those they are judged on: CelebA, by identity.

Two files of research data: 180 people with 30 sharp photographs each and known identity, and the
first 9,000 of CelebA at half size. No photograph of either enters the repository.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_core.faces.pictures import open_picture
from aef_core.faces.sources import FileTree, celeba_labels

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
    sharp = FileTree(root / SHARP)
    people = identities(sharp)
    held_out = set(sorted(set(people.values()), key=int)[-HELD_OUT_PEOPLE:])
    names = [n for n, p in people.items() if (p in held_out) == (split == "test")]
    images, labels = _read(sharp, size, names)
    if half and split == "train":
        # a photograph of both archives is taken from the sharp one
        more, more_labels = _read(FileTree(root / HALF), size, without=people)
        images, labels = images + more, labels + more_labels
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Photos(pixels, torch.tensor(labels, dtype=torch.uint8))


def identities(files: FileTree) -> dict[str, str]:
    """Who is on each photograph of the sharp archive, by the number CelebA gives a person."""
    text = files.read(files.one("identity_CelebA.txt")).decode()
    return dict(line.split() for line in text.strip().splitlines())


def _read(
    files: FileTree, size: int, names: Sequence[str] = (), without: Collection[str] = ()
) -> tuple[list[np.ndarray], list[list[int]]]:
    """Pictures and labels of these photographs, else of all but those `without` names."""
    labels = celeba_labels(files)
    names = names or [name for name in labels if name not in without]
    paths = {Path(path).name: path for path in files.images()}
    images = []
    for name in names:
        image = open_picture(files.read(paths[name]), name)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        images.append(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)))
    return images, [labels[name] for name in names]
