"""Faces: the embedded people who do not exist, and loaders for the research sets a user brings.

Every loader returns a `FaceBatch`. Training and evaluation faces come from disjoint splits, which
follow the sets' own order (CelebA), the person (LFW) or the video (FF++, folder: the file).
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from aef_core.config import ASSETS
from aef_core.generators.base import ATTRIBUTES

SPLITS = ("train", "test")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CELEBA_TEST_FROM = {9000: 8000, 202599: 182637}  # first test row, by rows of the attribute file
LFW_CROP, LFW_SHIFT_UP = 0.60, 0.02  # of the image side: matches CelebA's framing


@dataclass(frozen=True)
class FaceBatch:
    """Faces ready for the generators.

    Attributes
    ----------
    images : Tensor, shape [N, 3, S, S], float32 in [-1, 1]
    attributes : Tensor, shape [N, 13], uint8, 0 or 1, in the order of `ATTRIBUTES`
    names : tuple of str
        One name a face, unique within its source.
    source : str
        "embedded", "celeba", ... ; part of a run's identity.
    """

    images: Tensor
    attributes: Tensor
    names: tuple[str, ...]
    source: str = "memory"

    def __post_init__(self) -> None:
        check_images(self.images)
        if tuple(self.attributes.shape) != (len(self.images), len(ATTRIBUTES)):
            raise ValueError(
                f"attributes have shape {tuple(self.attributes.shape)}, "
                f"expected {(len(self.images), len(ATTRIBUTES))}: one row per image"
            )
        if len(self.names) != len(self.images):
            raise ValueError(f"{len(self.names)} names for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | list[int] | Tensor) -> "FaceBatch":
        names = np.array(self.names, dtype=object)[rows if isinstance(rows, slice) else list(rows)]
        return FaceBatch(self.images[rows], self.attributes[rows], tuple(names), self.source)

    def fingerprint(self) -> str:
        """Short checksum of pixels, labels and names; identifies the faces in a run's config."""
        value = zlib.crc32(to_uint8(self.images).numpy().tobytes())
        value = zlib.crc32(self.attributes.numpy().tobytes(), value)
        return f"{zlib.crc32(' '.join(self.names).encode(), value):08x}"


def check_images(images: Tensor) -> None:
    """Refuse anything but finite float RGB images in [-1, 1], with one line that says what is off.

    Raises
    ------
    ValueError
        Wrong rank or channels, an integer type, NaN or infinite pixels, values outside [-1, 1].
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}, expected [N, 3, H, W] (RGB)")
    if len(images) == 0:
        raise ValueError("no images: the batch is empty")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}, expected float in [-1, 1] (see from_uint8)")
    finite = images.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise ValueError(f"image {int((~finite).nonzero()[0])} has NaN or infinite pixels")
    if images.abs().max() > 1 + 1e-4:
        low, high = images.min().item(), images.max().item()
        raise ValueError(f"pixels span [{low:.3g}, {high:.3g}], expected [-1, 1]: use x / 127.5 - 1")


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
    size: int = 64,
) -> FaceBatch:
    """Load faces.

    Parameters
    ----------
    source : {"embedded", "celeba", "lfw", "ffpp", "folder"}
        "embedded" needs no root. "celeba": folder or zip holding `img_align_celeba/` and
        `list_attr_celeba.txt`. "lfw": folder or zip of `<Person>/<Person>_NNNN.jpg`. "ffpp": folder
        of frames in one folder a video. "folder": any folder of face photos.
    split : {"train", "test"}
        Disjoint halves of the source.
    n : int, optional
        How many, from the start of the split; all by default.
    root : path, optional
        Where the source lies.
    size : int
        Side of the square images in pixels; the embedded faces are stored at 64.

    Returns
    -------
    FaceBatch

    Raises
    ------
    ValueError
        Unknown source or split, too few faces, labels that do not match the files, a bad image.
    FileNotFoundError
        `root` missing or without images.
    """
    if source not in LOADERS:
        raise ValueError(f"unknown face source {source!r}; known: {', '.join(LOADERS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if source != "embedded" and root is None:
        raise ValueError(f"source {source!r} needs root=: the folder or zip with its images")
    images, attributes, names = LOADERS[source](root, split, n, size)
    if n is not None and len(names) < n:
        raise ValueError(f"{source}/{split} has {len(names)} faces, {n} were asked for")
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    if attributes is None:
        from aef_core.classifier import predict_attributes  # only unlabelled sets need it

        attributes = predict_attributes(from_uint8(pixels)).numpy()
    return FaceBatch(
        from_uint8(pixels), torch.from_numpy(np.asarray(attributes, np.uint8)), tuple(names), source
    )


Loaded = tuple[list[np.ndarray], list | None, list[str]]


def _embedded(root: object, split: str, n: int | None, size: int) -> Loaded:
    with Image.open(ASSETS / f"faces64_{split}.png") as sheet:
        grid = np.asarray(sheet.convert("RGB"))
    tiles = grid.reshape(grid.shape[0] // 64, 64, -1, 64, 3).swapaxes(1, 2).reshape(-1, 64, 64, 3)
    with open(ASSETS / "faces64.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split][:n]
    images = [tiles[int(row["index"])] for row in rows]
    if size != 64:
        images = [_resize(Image.fromarray(image), size) for image in images]
    labels = [[int(row[name]) for name in ATTRIBUTES] for row in rows]
    return images, labels, [row["name"] for row in rows]


def _celeba(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    files = FileTree(root)
    header, *rows = files.read(files.one("list_attr_celeba.txt")).decode().strip().split("\n")[1:]
    if [len(row.split()) for row in rows[:1]] != [len(header.split()) + 1]:
        raise ValueError(f"{root}: list_attr_celeba.txt is not in the official two-header format")
    first_test = CELEBA_TEST_FROM.get(len(rows), int(0.9 * len(rows)))
    chosen = (rows[:first_test] if split == "train" else rows[first_test:])[:n]
    wanted = [header.split().index(name) for name in ATTRIBUTES]
    paths = {Path(p).name: p for p in files.images()}
    images, labels, names = [], [], []
    for row in chosen:
        name, *values = row.split()  # the label of *this* face: the peers read it two rows off
        if name not in paths:
            raise ValueError(f"{root}: {name} has labels but no image in img_align_celeba")
        images.append(_resize(_centre_square(files.image(paths[name])), size))
        labels.append([int(values[i] == "1") for i in wanted])
        names.append(name)
    return images, labels, names


def _lfw(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    def crop(image: Image.Image) -> Image.Image:
        side = round(LFW_CROP * image.width)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        top -= round(LFW_SHIFT_UP * image.height)
        return image.crop((left, top, left + side, top + side))

    return _unlabelled(root, split, n, size, group=lambda p: Path(p).parent.name, crop=crop)


def _ffpp(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    from aef_core.detection import crop_face  # frames are whole scenes: MTCNN finds the face

    return _unlabelled(root, split, n, size, group=lambda p: Path(p).parent.name, crop=crop_face)


def _folder(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    return _unlabelled(root, split, n, size, group=lambda p: Path(p).name, crop=_centre_square)


def _unlabelled(
    root: str | Path,
    split: str,
    n: int | None,
    size: int,
    group: Callable[[str], str],
    crop: Callable[[Image.Image], Image.Image],
) -> Loaded:
    """Images without labels, split by a hash of their group so that no person is on both sides."""
    files = FileTree(root)
    chosen = [p for p in files.images() if split_of(group(p)) == split][:n]
    if not chosen:
        raise FileNotFoundError(f"{root}: none of its images falls into split {split!r}")
    return [_resize(crop(files.image(p)), size) for p in chosen], None, chosen


def split_of(group: str) -> str:
    """The split a person, video or file belongs to: 80 % train, by a hash of its name."""
    return "train" if zlib.crc32(group.encode()) % 5 else "test"


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _resize(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


class FileTree:
    """Read-only view of a folder or a zip, so that a data set need not be unpacked."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.exists():
            raise FileNotFoundError(f"{root}: no such folder or zip; pass root= where the set lies")
        self._zip = zipfile.ZipFile(self.root) if self.root.suffix == ".zip" else None

    def paths(self) -> Iterator[str]:
        if self._zip:
            return (p for p in self._zip.namelist() if not p.endswith("/"))
        return (str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())

    def images(self) -> list[str]:
        found = sorted(p for p in self.paths() if Path(p).suffix.lower() in SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{self.root}: no images ({', '.join(sorted(SUFFIXES))}) in it")
        return found

    def one(self, name: str) -> str:
        for path in self.paths():
            if Path(path).name == name:
                return path
        raise FileNotFoundError(f"{self.root}: {name} is missing")

    def read(self, path: str) -> bytes:
        return self._zip.read(path) if self._zip else (self.root / path).read_bytes()

    def image(self, path: str) -> Image.Image:
        """An RGB image; grayscale and alpha are refused rather than silently changed."""
        try:
            image = Image.open(io.BytesIO(self.read(path)))
            image.load()
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{self.root}: {path} is not a readable image ({error})") from None
        if image.mode != "RGB":
            raise ValueError(f"{path} has mode {image.mode}: convert it first, convert('RGB')")
        return image


LOADERS: dict[str, Callable[..., Loaded]] = {
    "embedded": _embedded,
    "celeba": _celeba,
    "lfw": _lfw,
    "ffpp": _ffpp,
    "folder": _folder,
}
