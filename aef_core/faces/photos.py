"""A person's own photos: the perturbation laid over every face, at the photo's own resolution.

A generator sees a face as a small aligned square. Here the perturbation goes the other way: it is
enlarged to that square's place in the photo and added there; no other pixel changes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from aef_core.errors import BadInput, NotFound, NotWritable
from aef_core.faces.detection import NoFace, detector, framed

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; may leave the photo

PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}  # 8 bits, and colours Pillow can convert
SEARCH_SIDE = 1280  # MTCNN looks at a reduced copy: its time grows with the pixels
SURE = 0.9  # MTCNN's probability below which a box is not taken for a face


@dataclass(frozen=True)
class Protected:
    """One protected photo.

    Attributes
    ----------
    before, after : array, shape [H, W, 3], uint8
        Pixels upright, as EXIF asks; transparency aside.
    boxes : list of Box
        Where the perturbation lies, largest face first.
    saved : Path
        The PNG that was written.
    """

    before: np.ndarray
    after: np.ndarray
    boxes: list[Box]
    saved: Path

    def psnr(self, box: Box | None = None) -> float:
        """Peak signal-to-noise ratio in dB, of the photo or of one square of it; inf if equal."""
        rows, columns = (slice(None), slice(None)) if box is None else _inside(self.before, box)
        change = self.after[rows, columns].astype(float) - self.before[rows, columns]
        error = np.square(change).mean()
        return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def protect_photo(
    path: str | Path, delta: Tensor, folder: str | Path | None = None, strength: float = 1.0
) -> Protected:
    """Protect the faces of a photo and write `<name>-protected.png`, never over another file.

    Parameters
    ----------
    path : path
        JPEG, PNG, WebP, ...; a still picture of 8 bits with a face in it.
    delta : Tensor, shape [1, 3, s, s]
        A universal perturbation, in [-1, 1] units.
    folder : path, optional
        Where to write; beside the photo by default. It is made if need be.
    strength : float, > 0
        Multiplies the perturbation, and with it the bound on every pixel's change.

    Returns
    -------
    Protected

    Raises
    ------
    FileNotFoundError
        No such photo.
    NoFace
        MTCNN finds no face.
    ValueError
        Not an image, damaged, animated, not of 8 bits; a perturbation that is not universal.
    """
    if not strength > 0:
        raise BadInput(f"strength must be positive, got {strength}")
    if delta.dim() != 4 or len(delta) != 1 or delta.shape[1] != 3:
        raise BadInput(f"delta has shape {tuple(delta.shape)}, expected [1, 3, s, s]: universal")
    path = Path(path)
    photo = read_photo(path)
    pixels = np.asarray(photo.convert("RGB"))
    boxes = face_squares(pixels)
    if not boxes:
        seen = f"{photo.width} x {photo.height} pixels"
        raise NoFace(f"{path}: MTCNN finds no face in {seen}: a larger one may help")
    after = overlay(pixels, delta, boxes, strength)
    result = Image.fromarray(after)
    if photo.mode == "RGBA":
        result.putalpha(photo.getchannel("A"))
    content = io.BytesIO()
    result.save(content, "PNG", icc_profile=photo.info.get("icc_profile"))
    folder = path.parent if folder is None else Path(folder)
    return Protected(pixels, after, boxes, write_new(folder, path.stem, content.getvalue()))


def read_photo(path: Path) -> Image.Image:
    """The photo upright, in mode RGB, or RGBA where it has transparency."""
    if not path.exists():
        raise NotFound(f"{path}: no such photo")
    if path.is_dir():
        raise BadInput(f"{path} is a folder: name the photos in it")
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a phone's MPO: a JPEG, a small copy behind
                raise _NotPlain(f"is animated ({frames} frames): give a still photo")
            if image.mode not in PLAIN_MODES:
                raise _NotPlain(f"has mode {image.mode}: save it as 8-bit RGB first")
            clear = "A" in image.getbands() or "transparency" in image.info
            return ImageOps.exif_transpose(image).convert("RGBA" if clear else "RGB")
    except _NotPlain as reason:
        raise BadInput(f"{path} {reason}") from None
    except UnidentifiedImageError:
        raise BadInput(f"{path} cannot be read (not an image): give a photo") from None
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise BadInput(f"{path} cannot be read ({error}): give a photo") from None


class _NotPlain(Exception):
    """A picture that can be read and is not a still 8-bit photo."""


def face_squares(pixels: np.ndarray) -> list[Box]:
    """Squares around all faces of a photo [H, W, 3], framed as the generators' faces are."""
    image = Image.fromarray(pixels)
    shrink = max(1.0, max(image.size) / SEARCH_SIDE)
    if shrink > 1:
        image = image.resize([max(1, round(side / shrink)) for side in image.size])
    boxes, sure = detector().detect(image)
    if boxes is None:
        return []
    return [framed(box * shrink) for box, p in zip(boxes, sure, strict=True) if p >= SURE]


def overlay(
    pixels: np.ndarray, delta: Tensor, boxes: Sequence[Box], strength: float = 1.0
) -> np.ndarray:
    """Pixels with the perturbation on every square, rounded once to 8 bits.

    Formula: p + 127.5 clip(sum_b resize(strength delta, b), -c, c) with c = strength max|delta|:
    where squares overlap, and where bicubic resizing overshoots, the bound holds all the same.

    Parameters
    ----------
    pixels : array, shape [H, W, 3], uint8
    delta : Tensor, shape [1, 3, s, s], in [-1, 1] units
    boxes : sequence of Box
    """
    bound = strength * delta.abs().max().item()
    change = np.zeros(pixels.shape, np.float32)
    for box in boxes:
        left, top, right, bottom = box
        patch = _resized(strength * delta.detach().cpu().float(), (bottom - top, right - left))
        rows, columns = _inside(pixels, box)
        change[rows, columns] += patch[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    change = 127.5 * change.clip(-bound, bound)
    return (pixels + change).round().clip(0, 255).astype(np.uint8)


def _resized(delta: Tensor, size: tuple[int, int]) -> np.ndarray:
    # bicubic: per visible change, more of it survives the forger's own shrinking than of nearest
    patch = F.interpolate(delta, size=size, mode="bicubic", antialias=True)
    return patch[0].permute(1, 2, 0).numpy()


def _inside(pixels: np.ndarray, box: Box) -> tuple[slice, slice]:
    """The part of a square that lies in the photo: rows and columns."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    return slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))


def write_new(folder: Path, stem: str, content: bytes) -> Path:
    """Write `<stem>-protected.png`, or `-2`, `-3`, ... where that is taken; returns its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(f"{folder} cannot be made ({error.strerror}): name another") from None
    number = 1
    while True:
        path = folder / f"{stem}-protected{'' if number == 1 else f'-{number}'}.png"
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            path.unlink(missing_ok=True)  # a full disk must not leave half a picture
            raise NotWritable(f"{path} cannot be written ({error.strerror})") from None
