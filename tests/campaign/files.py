"""Malformed photos, label tables and zips, thrown at the doors that read them."""

import io
import os
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from aef_core.faces import load_faces
from aef_core.faces.pictures import open_picture, read_picture, upright
from aef_core.models.base import ATTRIBUTES

from . import Case

Named = Iterator[tuple[str, bytes]]
SIDE = 24
LABELS = "list_attr_celeba.txt"


def mutated(content: bytes, draw: np.random.Generator, n: int) -> Named:
    """The content cut, with another byte, and with bytes put in, at random places."""
    for place in draw.integers(1, len(content), n):
        yield f"cut at {place}", content[:place]
        other = bytearray(content)
        other[place] ^= 1 << int(draw.integers(8))
        yield f"byte {place} turned", bytes(other)
        yield f"zeros at {place}", content[:place] + bytes(9) + content[place:]


# Photos


@cache
def noise(number: int = 0) -> Image.Image:
    """A small picture."""
    draw = np.random.default_rng(number)
    return Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of a picture."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def as_photo(content: bytes, whole: bytes | None, scratch: Path) -> bool:
    """Read it; if it comes from a whole file, pixels must be those of the whole."""
    (scratch / "photo.jpg").write_bytes(content)
    photo = upright(read_picture(scratch / "photo.jpg"), keep_alpha=True)
    if whole is not None:
        return np.array_equal(photo, upright(read_picture(whole, "whole"), keep_alpha=True))
    return photo.mode in ("RGB", "RGBA") and min(photo.size) >= 1


def never(content: bytes, scratch: Path) -> bool:
    """Read what must be refused."""
    as_photo(content, None, scratch)
    return False


def odd_photos() -> Named:
    """Each whole in its own way, none for this package."""
    yield "empty", b""
    yield "text", b"not a picture"
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    for mode, kind in (("I", "TIFF"), ("F", "TIFF"), ("LAB", "TIFF"),
                       ("YCbCr", "TIFF")):  # fmt: skip
        yield f"{mode} {kind}", encoded(Image.new(mode, (8, 8)), kind)
    for kind in ("PCX", "TGA", "PPM", "ICO", "PDF", "EPS", "SGI", "DDS"):
        yield kind, encoded(Image.new("RGB", (16, 16)), kind)
    for kind in ("GIF", "WEBP", "PNG"):
        frames = [noise(i) for i in (1, 2)]
        yield f"animated {kind}", encoded(noise(), kind, save_all=True, append_images=frames)
    for kind in ("PNG", "BMP", "GIF"):
        big = bytearray(encoded(Image.new("1", (60_000, 1500)), kind))
        yield f"{kind} of 90 million pixels", bytes(big[:4000])


def _at_path(name: str, scratch: Path) -> bool:
    """What lies at a path need not be a file."""
    places = {"folder": scratch, "pipe": scratch / "pipe", "zero": Path("/dev/zero"),
              "missing": scratch / "missing", "link to itself": scratch / "loop",
              "long name": scratch / ("x" * 300), "NUL": Path("a\0b")}  # fmt: skip
    os.mkfifo(scratch / "pipe")
    (scratch / "loop").symlink_to("loop")
    open_picture(places[name])
    return False


def photos(seed: int, scale: float) -> Iterator[Case]:
    """Files that are called a photo."""
    draw = np.random.default_rng(seed)
    for mode, kind in (("I;16", "TIFF"), ("I;16", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF")):
        content = encoded(Image.new(mode, (8, 8)), kind)
        yield Case(f"{mode} {kind}", partial(as_photo, content, None), sound=True)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        content = encoded(noise(), kind)
        yield Case(f"{kind}, untouched", partial(as_photo, content, content), sound=True)
        for name, other in mutated(content, draw, round(13 * scale)):
            whole = content if kind == "PNG" or name.startswith("cut") else None
            yield Case(f"{kind} {name}", partial(as_photo, other, whole), "photo.jpg")
    for name, content in odd_photos():
        yield Case(name, partial(never, content), "photo.jpg")
    for name in ("folder", "pipe", "zero", "missing", "link to itself", "long name", "NUL"):
        culprit = {"zero": "/dev/zero", "long name": "xxx", "NUL": "x00"}.get(name, "campaign-")
        yield Case(name, partial(_at_path, name), culprit)


# Labels and zips


def table(rows: dict[str, tuple[int, ...]]) -> str:
    """A label table in CelebA's layout."""
    lines = [f"{name} {' '.join(map(str, values))}" for name, values in rows.items()]
    return "\n".join([str(len(rows)), " ".join(ATTRIBUTES), *lines, ""])


@cache
def truth() -> dict[str, tuple[int, ...]]:
    """Labels of ten faces."""
    draw = np.random.default_rng(3)
    return {f"{i}.jpg": tuple(draw.choice((1, -1), len(ATTRIBUTES)).tolist()) for i in range(10)}


def _right(faces: object) -> bool:
    """Every face has its own labels and, if any byte of it came through, its own pixels."""
    for name, image, labels in zip(faces.names, faces.images, faces.attributes, strict=True):
        own = open_picture(encoded(noise(int(name[:-4])), "PNG"), name)
        pixels = torch.from_numpy(np.array(own)).permute(2, 0, 1) / 127.5 - 1
        if labels.tolist() != [int(v == 1) for v in truth()[name]]:
            return False
        if not torch.allclose(image, pixels, atol=1e-6):
            return False
    return len(faces) == 4


def as_table(content: bytes, scratch: Path) -> bool:
    """A set in a folder with this label table."""
    (scratch / LABELS).write_bytes(content)
    (scratch / "img_align_celeba").mkdir()
    for name in truth():
        picture = encoded(noise(int(name[:-4])), "PNG")
        (scratch / "img_align_celeba" / name).write_bytes(picture)
    return _right(load_faces("celeba", "train", 4, scratch, SIDE))


def as_zip(content: bytes, scratch: Path) -> bool:
    """A set in this zip."""
    (scratch / "set.zip").write_bytes(content)
    return _right(load_faces("celeba", "train", 4, scratch / "set.zip", SIDE))


def odd_tables() -> Iterator[tuple[str, str]]:
    """A malformed label, row, header or count each."""
    rows = truth()
    good, lines = table(rows), table(rows).splitlines()
    for word in ("1.0", "+1", "yes", "nan", "5", "0x1", "²", "-", "01", "--1", "1e0", "0", "١"):
        for at in (0, 1, 12):
            row = [str(v) for v in rows["2.jpg"]]
            row[at] = word
            yield f"label {at} {word}", good.replace(lines[4], f"2.jpg {' '.join(row)}")
    for name, line in {"long": lines[4] + " 1", "short": lines[4][:-2].strip(), "no": "2.jpg",
                       "another's": lines[3], "a path's": "../" + lines[4]}.items():  # fmt: skip
        yield f"{name} row", good.replace(lines[4], line)
    for count in ("9", "11", "-10", "10.0", "", "ten", "1e1"):
        yield f"count {count!r}", "\n".join([count, *lines[1:]])
    header = lines[1].split()
    for name, names in {"missing": header[:-1], "twice": [header[0], *header[:-1]],
                        "foreign": [*header[:-1], "Wings"], "none": []}.items():  # fmt: skip
        yield f"attribute {name}", "\n".join([lines[0], " ".join(names), *lines[2:]])
    yield "no rows", "\n".join(["0", lines[1]])
    yield "no header", "\n".join(lines[2:])
    yield "comma separated", good.replace(" ", ",")


def labels(seed: int, scale: float) -> Iterator[Case]:
    """Label files."""
    good = table(truth()).encode()
    yield Case("untouched", partial(as_table, good), sound=True)
    yield Case("Windows line ends", partial(as_table, good.replace(b"\n", b"\r\n")), sound=True)
    for name, text in odd_tables():
        culprit = "../2.jpg" if name == "a path's row" else LABELS
        yield Case(name, partial(as_table, text.encode()), culprit)
    for name in ("utf-16", "utf-8-sig"):
        yield Case(name, partial(as_table, good.decode().encode(name)), LABELS)
    draw = np.random.default_rng(seed)
    for name, content in mutated(good, draw, round(14 * scale)):
        yield Case(name, partial(as_table, content), "")


def packed(method: int = zipfile.ZIP_DEFLATED, **changed: bytes) -> bytes:
    """The set as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(LABELS, changed.get("labels", table(truth()).encode()))
        for name in truth():
            picture = changed.get("picture", encoded(noise(int(name[:-4])), "PNG"))
            archive.writestr(f"img_align_celeba/{name}", picture)
    return out.getvalue()


def odd_zips() -> Named:
    """Zips that only look like one, or that hold what they should not."""
    whole = packed()
    central = whole.index(b"PK\x01\x02")
    for name, offset, value in (("encrypted", 8, b"\1"), ("unknown method", 10, b"\x63"),
                                ("a size of 4 GB", 24, b"\xff\xff\xff\xfe"),
                                ("its data elsewhere", 42, b"\xf0\xf0\xf0")):  # fmt: skip
        at = central + offset
        yield name, whole[:at] + value + whole[at + len(value) :]
    yield "a bomb for labels", packed(labels=bytes(2**28 + 1))
    yield "text for pictures", packed(picture=b"text")
    yield "an empty picture", packed(picture=b"")
    yield "a zip in a zip", packed(picture=whole)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w"):
        pass
    yield "empty zip", out.getvalue()
    yield "empty file", b""
    yield "text", b"no zip"


def zips(seed: int, scale: float) -> Iterator[Case]:
    """A set in a damaged zip."""
    draw = np.random.default_rng(seed)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        whole = packed(method)
        yield Case(f"method {method}, untouched", partial(as_zip, whole), sound=True)
        for name, content in mutated(whole, draw, round(9 * scale)):
            yield Case(f"method {method}, {name}", partial(as_zip, content), "")
    for name, content in odd_zips():
        yield Case(name, partial(as_zip, content), "")
