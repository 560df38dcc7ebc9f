"""Where faces come from: the embedded sheet, and loaders for the research sets a user brings.

A loader returns pixels, labels (None where the set has none) and names of one split. Splits follow
the set's own order (CelebA), the person (LFW), the video (FF++) or the file (folder).
"""

import csv
import os
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from aef_core.config import ASSETS
from aef_core.errors import AEFError, BadInput, NotFound, must_be_file, reading
from aef_core.faces.labels import read_labels
from aef_core.faces.pictures import open_picture
from aef_core.models.base import ATTRIBUTES

SIDE = 128  # pixels of an embedded face
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MAX_BYTES = 2**28  # of a picture or a table of labels, unpacked: a zip bomb is refused unread
CELEBA_TEST_FROM = {9000: 8000, 202599: 182637}  # first test row, by rows of the attribute file
LFW_CROP, LFW_SHIFT_UP = 0.60, 0.02  # of the image side: matches CelebA's framing

Loaded = tuple[list[np.ndarray], list | None, list[str]]


def _embedded(root: object, split: str, n: int | None, size: int) -> Loaded:
    sheet = open_picture(ASSETS / f"faces_{split}.webp")
    with open(ASSETS / "faces.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split][:n]
    images = []
    for row in rows:  # a tile of the sheet without a row is torn or doubled, and left out
        y, x = (SIDE * place for place in divmod(int(row["index"]), sheet.width // SIDE))
        images.append(_resized(sheet.crop((x, y, x + SIDE, y + SIDE)), size))
    labels = [[int(row[name]) for name in ATTRIBUTES] for row in rows]
    return images, labels, [row["name"] for row in rows]


def _celeba(root: str | Path, split: str, n: int | None, size: int) -> Loaded:
    files = FileTree(root)
    labels = celeba_labels(files)
    first_test = CELEBA_TEST_FROM.get(len(labels), int(0.9 * len(labels)))
    names = (list(labels)[:first_test] if split == "train" else list(labels)[first_test:])[:n]
    paths = {Path(p).name: p for p in files.images()}
    images = []
    for name in names:
        if name not in paths:
            raise BadInput(f"{root}: {name} has labels but no image in img_align_celeba")
        images.append(_resized(_square(open_picture(files.read(paths[name]), paths[name])), size))
    # the labels of *these* faces: the peers read them two rows off
    return images, [labels[name] for name in names], names


def celeba_labels(files: "FileTree") -> dict[str, list[int]]:
    """Labels of every image of CelebA, 0 or 1, in the order of `ATTRIBUTES`; as `read_labels`."""
    table = files.one("list_attr_celeba.txt")
    header, rows = read_labels(files.read(table), table)
    absent = [name for name in ATTRIBUTES if name not in header]
    if absent:
        raise BadInput(f"{table} lacks the attribute {absent[0]}: get the official table")
    wanted = [header.index(name) for name in ATTRIBUTES]
    return {name: [values[i] for i in wanted] for name, values in rows.items()}


def _unlabelled(
    group: Callable[[Path], str],
    crop: Callable[[Image.Image], Image.Image],
    root: str | Path,
    split: str,
    n: int | None,
    size: int,
) -> Loaded:
    """Images without labels, split by a hash of their group so that no person is on both sides."""
    files = FileTree(root)
    chosen = [p for p in files.images() if split_of(group(Path(p))) == split][:n]
    if not chosen:
        raise NotFound(f"{root}: none of its images falls into split {split!r}")
    images = [_resized(crop(open_picture(files.read(p), p)), size) for p in chosen]
    return images, None, chosen


def split_of(group: str) -> str:
    """The split a person, video or file belongs to: 80 % train, by a hash of its name."""
    return "train" if zlib.crc32(os.fsencode(group)) % 5 else "test"


def _lfw_face(image: Image.Image) -> Image.Image:
    return _square(image, round(LFW_CROP * image.width), up=round(LFW_SHIFT_UP * image.height))


def _found_face(image: Image.Image) -> Image.Image:
    from aef_core.faces.detection import crop_face  # heavy to import, and only needed here

    return crop_face(image)


def _square(image: Image.Image, side: int | None = None, up: int = 0) -> Image.Image:
    side = side or min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2 - up
    return image.crop((left, top, left + side, top + side))


def _resized(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


class FileTree:
    """The files of a folder or a zip, for reading; an `AEFError` names what cannot be read."""

    def __init__(self, root: str | Path) -> None:
        self.root, self._zip = Path(root), None
        with reading(root, "name where the set lies"):
            is_folder = self.root.is_dir()
        if is_folder:
            with reading(root, "name the folder of the set alone"):
                files = (p for p in self.root.rglob("*") if p.is_file())
                self.paths = sorted(str(p.relative_to(self.root)) for p in files)
            return
        must_be_file(self.root, "name where the set lies", "folder or zip")
        try:
            self._zip = zipfile.ZipFile(self.root)
        except Exception as error:  # `zipfile` raises whatever it stumbles over
            raise BadInput(f"{self.root} is no folder and no readable zip ({error})") from None
        self.paths = sorted(p for p in self._zip.namelist() if not p.endswith("/"))

    def images(self) -> list[str]:
        """Paths of its pictures, sorted."""
        found = [p for p in self.paths if Path(p).suffix.lower() in SUFFIXES]
        if not found:
            raise NotFound(f"{self.root}: no images ({', '.join(sorted(SUFFIXES))}) in it")
        return found

    def one(self, name: str) -> str:
        """The path of the file of this name, in whatever folder."""
        for path in self.paths:
            if Path(path).name == name:
                return path
        raise NotFound(f"{self.root}: {name} is missing")

    def read(self, path: str) -> bytes:
        """Content of a file of at most `MAX_BYTES`."""
        file = self.root / path
        try:
            size = self._zip.getinfo(path).file_size if self._zip else file.stat().st_size
            if size > MAX_BYTES:
                raise BadInput(f"{path} has {size / 2**20:.0f} MiB, more than {MAX_BYTES >> 20}")
            return self._zip.read(path) if self._zip else file.read_bytes()
        except AEFError:
            raise
        except Exception as error:  # cut, changed, encrypted, packed in an unknown way
            raise BadInput(f"{self.root}: {path} cannot be read ({error}): replace it") from None


LOADERS: dict[str, Callable[..., Loaded]] = {
    "embedded": _embedded,
    "celeba": _celeba,
    "lfw": partial(_unlabelled, lambda path: path.parent.name, _lfw_face),
    # frames are whole scenes, in a folder for each video
    "ffpp": partial(_unlabelled, lambda path: path.parent.name, _found_face),
    "folder": partial(_unlabelled, lambda path: path.name, _square),
}
