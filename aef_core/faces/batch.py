"""Faces as the generators see them: checked, labelled, named, from disjoint splits."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces.sources import LOADERS, SIDE
from aef_core.models.base import ATTRIBUTES
from aef_core.models.judge import predict_attributes
from aef_core.registry import check_count

SPLITS = ("train", "test")
LARGEST = 1024  # pixels, of a side that generators could take


@dataclass(frozen=True)
class FaceBatch:
    """Faces for the generators. Making one raises `BadInput` that says what does not fit.

    Attributes
    ----------
    images : Tensor, shape [N, 3, S, S], float32 in [-1, 1]
    attributes : Tensor, shape [N, 13], uint8, 0 or 1, in the order of `ATTRIBUTES`
    names : tuple of str, no two alike
    source : str, where they are from; part of a run's identity
    """

    images: Tensor
    attributes: Tensor
    names: tuple[str, ...]
    source: str = "memory"

    def __post_init__(self) -> None:
        check_images(self.images)
        shape, expected = tuple(self.attributes.shape), (len(self.images), len(ATTRIBUTES))
        if shape != expected:
            raise BadInput(f"attributes have shape {shape}, expected {expected}: one row per image")
        odd = ~((self.attributes == 0) | (self.attributes == 1))
        if odd.any():
            row, column = odd.nonzero()[0].tolist()
            value = self.attributes[row, column].item()
            raise BadInput(f"image {row}: {ATTRIBUTES[column]} is {value}, expected 0 or 1")
        if len(self.names) != len(self.images):
            raise BadInput(f"{len(self.names)} names for {len(self.images)} images")
        if len(set(self.names)) < len(self.names):
            twin = next(name for name in self.names if self.names.count(name) > 1)
            raise BadInput(f"two images are named {twin!r}: names tell them apart in tables")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | list[int] | Tensor) -> "FaceBatch":
        names = np.array(self.names, dtype=object)[rows if isinstance(rows, slice) else list(rows)]
        return FaceBatch(self.images[rows], self.attributes[rows], tuple(names), self.source)

    def fingerprint(self) -> str:
        """Short checksum of pixels, labels and names; identifies the faces in a run's config."""
        value = zlib.crc32(to_uint8(self.images).numpy().tobytes())
        value = zlib.crc32(self.attributes.numpy().tobytes(), value)
        return f"{zlib.crc32(os.fsencode(' '.join(self.names)), value):08x}"


def check_images(images: Tensor) -> None:
    """Raise `BadInput`, in one line, for anything but finite float RGB images in [-1, 1]."""
    if images.dim() != 4 or images.shape[1] != 3:
        raise BadInput(f"images have shape {tuple(images.shape)}, expected [N, 3, H, W] (RGB)")
    if len(images) == 0:
        raise BadInput("no images: the batch is empty")
    if not images.is_floating_point():
        raise BadInput(f"images are {images.dtype}, expected float in [-1, 1] (see from_uint8)")
    finite = images.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise BadInput(f"image {int((~finite).nonzero()[0])} has NaN or infinite pixels")
    if images.abs().max() > 1 + 1e-4:
        span = f"[{images.min().item():.3g}, {images.max().item():.3g}]"
        raise BadInput(f"pixels span {span}, expected [-1, 1]: use x / 127.5 - 1")


def from_uint8(images: Tensor) -> Tensor:
    """0..255 to [-1, 1], float32."""
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255, rounded once and clamped: what saving an image does to it."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def load_faces(
    source: str = "embedded",
    split: str = "train",
    n: int | None = None,
    root: str | Path | None = None,
    size: int = SIDE,
) -> FaceBatch:
    """Faces of one split of a source, with the judge's labels where the source has none.

    Parameters
    ----------
    source : {"embedded", "celeba", "lfw", "ffpp", "folder"}
        "celeba": folder or zip holding `img_align_celeba/` and `list_attr_celeba.txt`. "lfw":
        folder or zip of `<Person>/<Person>_NNNN.jpg`. "ffpp": a folder for each video, with its
        frames. "folder": any folder of face photos.
    split : {"train", "test"}, which share no face
    n : int, optional
        How many, from the start of the split; all by default.
    root : path, optional
        Where the source lies; "embedded" needs none.
    size : int
        Side of the square images in pixels, 1 to 1024; embedded faces are resized from 128.

    Raises
    ------
    BadInput, NotFound
        Unknown source or split, too few faces, labels that do not match the files, a bad image;
        `root` missing or without images.
    """
    if source not in LOADERS:
        raise BadInput(f"unknown face source {source!r}; known: {', '.join(LOADERS)}")
    if split not in SPLITS:
        raise BadInput(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if n is not None:
        check_count("n", n)
    check_count("size", size, LARGEST)
    if source != "embedded" and root is None:
        raise BadInput(f"source {source!r} needs a root: the folder or zip with its images")
    images, attributes, names = LOADERS[source](root, split, n, size)
    if n is not None and len(names) < n:
        raise BadInput(f"{source}/{split} has {len(names)} faces, {n} were asked for")
    pixels = from_uint8(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous())
    labels = predict_attributes(pixels) if attributes is None else attributes
    return FaceBatch(pixels, torch.as_tensor(labels, dtype=torch.uint8), tuple(names), source)
