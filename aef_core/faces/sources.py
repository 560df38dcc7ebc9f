"""Where faces come from: the embedded sheet, and loaders for the research sets a user brings.

A loader returns pixels, labels (None where the set has none) and names of one split. Splits follow
the set's own order (CelebA), the person (LFW), the video (FF++) or the file (folder).
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from aef_core.config import ASSETS
from aef_core.errors import BadInput, NotFound
from aef_core.models.base import ATTRIBUTES

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CELEBA_TEST_FROM = {9000: 8000, 202599: 182637}  # first test row, by rows of the attribute file
LFW_CROP, LFW_SHIFT_UP = 0.60, 0.02  # of the image side: matches CelebA's framing

Loaded = tuple[list[np.ndarray], list | None, list[str]]


def _embedded(root: object, split: str, n: int | None, size: int) -> Loaded:
    # the smallest sheets that are large enough, else the largest, resized
    sheets = sorted(int(path.stem.removeprefix("faces")) for path in ASSETS.glob("faces*.csv"))
    stored = next((s for s in sheets if s >= size), sheets[-1])
    with Image.open(next(ASSETS.glob(f"faces{stored}_{split}.*"))) as sheet:
        grid = np.asarray(sheet.convert("RGB"))
    tiles = grid.reshape(grid.shape[0] // stored, stored, -1, stored, 3).swapaxes(1, 2)
    tiles = tiles.reshape(-1, stored, stored, 3)
    with open(ASSETS / f"faces{stored}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split][:n]
    images = [tiles[int(row["index"])] for row in rows]
    if size != stored:
        images = [_resize(Image.fromarray(image), size) for image in images]
    labels = [[int(row[name]) for name in ATTRIBUTES] for row in rows]
    return images, labels, [row["name"] for row in rows]


def _celeba(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    files = FileTree(root)
    header, *rows = files.read(files.one("list_attr_celeba.txt")).decode().strip().split("\n")[1:]
    if [len(row.split()) for row in rows[:1]] != [len(header.split()) + 1]:
        raise BadInput(f"{root}: list_attr_celeba.txt is not in the official two-header format")
    first_test = CELEBA_TEST_FROM.get(len(rows), int(0.9 * len(rows)))
    chosen = (rows[:first_test] if split == "train" else rows[first_test:])[:n]
    wanted = [header.split().index(name) for name in ATTRIBUTES]
    paths = {Path(p).name: p for p in files.images()}
    images, labels, names = [], [], []
    for row in chosen:
        name, *values = row.split()  # the label of *this* face: the peers read it two rows off
        if name not in paths:
            raise BadInput(f"{root}: {name} has labels but no image in img_align_celeba")
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
    # frames are whole scenes; MTCNN, heavy to import, finds the face
    from aef_core.faces.detection import crop_face

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
        raise NotFound(f"{root}: none of its images falls into split {split!r}")
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
            raise NotFound(f"{root}: no such folder or zip: name where the set lies")
        self._zip = zipfile.ZipFile(self.root) if self.root.suffix == ".zip" else None

    def paths(self) -> Iterator[str]:
        if self._zip:
            return (p for p in self._zip.namelist() if not p.endswith("/"))
        return (str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())

    def images(self) -> list[str]:
        found = sorted(p for p in self.paths() if Path(p).suffix.lower() in SUFFIXES)
        if not found:
            raise NotFound(f"{self.root}: no images ({', '.join(sorted(SUFFIXES))}) in it")
        return found

    def one(self, name: str) -> str:
        for path in self.paths():
            if Path(path).name == name:
                return path
        raise NotFound(f"{self.root}: {name} is missing")

    def read(self, path: str) -> bytes:
        return self._zip.read(path) if self._zip else (self.root / path).read_bytes()

    def image(self, path: str) -> Image.Image:
        """An RGB image; grayscale and alpha are refused rather than silently changed."""
        try:
            image = Image.open(io.BytesIO(self.read(path)))
            image.load()
        except (UnidentifiedImageError, OSError):
            raise BadInput(f"{path} is not a readable image: remove or replace it") from None
        if image.mode != "RGB":
            raise BadInput(f"{path} has mode {image.mode}: convert it first, convert('RGB')")
        return image


LOADERS: dict[str, Callable[..., Loaded]] = {
    "embedded": _embedded,
    "celeba": _celeba,
    "lfw": _lfw,
    "ffpp": _ffpp,
    "folder": _folder,
}
