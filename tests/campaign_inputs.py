"""Malformed photos, label files, weights and command lines, thrown at their doors.

To throw more: add a (name, content) to a generator below, or a generator with its door to `DOORS`.
"""

import io
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from aef_core import __main__ as command
from aef_core.faces import load_faces
from aef_core.faces.photos import read_photo
from aef_core.models.zoo import read_weights

from .campaign import Case

Named = Iterator[tuple[str, bytes]]


def picture(kind: str, mode: str = "RGB", size: int = 32) -> bytes:
    """A small picture of noise, encoded."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, kind)
    return out.getvalue()


def mutated(content: bytes, draw: np.random.Generator, n: int) -> Named:
    """The content cut, with other bytes, and with bytes put in, at random places."""
    for place in draw.integers(1, len(content), n):
        yield f"cut at {place}", content[:place]
        other = bytearray(content)
        other[place] ^= 0xFF
        yield f"byte {place} turned", bytes(other)
        yield f"zeros at {place}", content[:place] + bytes(9) + content[place:]


def photos(draw: np.random.Generator, n: int) -> Named:
    """Files that are called a photo."""
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        for name, content in mutated(picture(kind), draw, n):
            yield f"{kind} {name}", content
    yield "empty", b""
    yield "text", b"not a picture"
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    for mode in ("I;16", "CMYK", "F"):
        out = io.BytesIO()
        Image.new(mode, (8, 8)).save(out, "TIFF")
        yield mode, out.getvalue()


def weights(draw: np.random.Generator, n: int) -> Named:
    """Files that are called weights."""
    sound = {"a": torch.ones(3, 3), "b": torch.zeros(2)}
    yield from mutated(safetensors.torch.save(sound), draw, 3 * n)
    bad = {
        "NaN": torch.tensor([float("nan")]),
        "infinity": torch.tensor([float("inf")]),
        "int": torch.ones(2, dtype=torch.int64),
        "bool": torch.ones(2) > 0,
        "complex": torch.ones(2, dtype=torch.complex64),
    }
    for name, value in bad.items():
        yield name, safetensors.torch.save(sound | {"c": value})
    yield "empty", b""
    yield "a header of 2 ** 60", (2**60).to_bytes(8, "little") + b"{}"


def labels(draw: np.random.Generator, n: int) -> Named:
    """CelebA label files whose second face is malformed."""
    from aef_core.models.base import ATTRIBUTES

    good = ["1", "-1"] * len(ATTRIBUTES)
    row = good[: len(ATTRIBUTES)]
    rows = {word: [word, *row[1:]] for word in ("1.0", "+1", "yes", "nan", "5", "", "0x1", "²")}
    rows |= {"long": [*row, "1"], "short": row[:-1], "none": []}
    for name, values in rows.items():
        text = [f"1.jpg {' '.join(row)}", f"2.jpg {' '.join(values)}", f"3.jpg {' '.join(row)}"]
        yield name, "\n".join(["3", " ".join(ATTRIBUTES), *text]).encode()
    twins = [f"1.jpg {' '.join(row)}", f"2.jpg {' '.join(row)}", f"2.jpg {' '.join(row[::-1])}"]
    yield "twins", "\n".join(["3", " ".join(ATTRIBUTES), *twins]).encode()
    whole = "\n".join(["3", " ".join(ATTRIBUTES), *(f"{i}.jpg {' '.join(row)}" for i in (1, 2, 3))])
    for place in draw.integers(0, len(whole), n):
        yield f"byte 0xff at {place}", whole.encode()[:place] + b"\xff" + whole.encode()[place:]


def as_photo(content: bytes, scratch: Path) -> bool:
    path = scratch / "photo.png"
    path.write_bytes(content)
    photo = read_photo(path)
    return photo.mode in ("RGB", "RGBA") and photo.size == (32, 32)


def as_weights(content: bytes, scratch: Path) -> bool:
    path = scratch / "weights.safetensors"
    path.write_bytes(content)
    state = read_weights(path)
    return all(v.is_floating_point() and v.isfinite().all() for v in state.values())


def as_labels(content: bytes, scratch: Path) -> bool:
    (scratch / "list_attr_celeba.txt").write_bytes(content)
    (scratch / "img_align_celeba").mkdir()
    for name in ("1", "2", "3"):
        (scratch / "img_align_celeba" / f"{name}.jpg").write_bytes(picture("JPEG"))
    return not load_faces("celeba", "train", 2, scratch, 32)


def command_lines() -> Iterator[list[str]]:
    """Arguments that no command can use."""
    for value in ("nan", "inf", "-1", "0", "1e-320", "3", "x", ""):
        yield ["optimize", "--eps", value]
        yield ["protect", "none.png", "--strength", value]
    for value in ("0", "-1", "1.5", "x", str(2**64)):
        yield ["optimize", "--steps", value]
        yield ["optimize", "--faces", value]
    for value in (str(2**64), str(2**64 - 1), "-1", "1.5"):
        yield ["optimize", "--seed", value]
    for value in ("tau", "tau=", "=1", "tau=abc", "speed=3", "loop=x", "recipe=1", "keep=2"):
        yield ["optimize", "--set", value]
    for value in ("", "none", "../..", "/", "*", "\u2028"):
        yield ["evaluate", value]
        yield ["protect", "none.png", "--run", value]
        yield ["optimize", "--zoo", value]
        yield ["optimize", "--method", value]
        yield ["optimize", "--profile", f"x{value}"]
        yield ["optimize", "--data", value]
        yield ["optimize", "--root", value or "."]


def as_command(arguments: list[str], scratch: Path) -> bool:
    sys.argv = ["aef_core", *arguments]
    command.main()
    return False


DOORS: dict[str, tuple[Callable, Callable, str]] = {
    "photos": (photos, as_photo, "photo.png"),
    "weights": (weights, as_weights, "weights.safetensors"),
    "label files": (labels, as_labels, "list_attr_celeba.txt"),
}


def malformed(seed: int, scale: float) -> Iterator[Case]:
    """Every file through its door."""
    for kind, (make, door, culprit) in DOORS.items():
        for name, content in make(np.random.default_rng(seed), max(1, round(12 * scale))):
            yield Case(kind, name, partial(door, content), (culprit,))


def malformed_commands(seed: int, scale: float) -> Iterator[Case]:
    """Every command line; the message must name the option or the value."""
    for arguments in command_lines():
        culprit = arguments[-2].removeprefix("--") if len(arguments) > 2 else arguments[-1]
        yield Case("command lines", " ".join(arguments), partial(as_command, arguments), (culprit,))


ATTACKS = (malformed, malformed_commands)
