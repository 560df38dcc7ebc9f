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
from PIL import Image
from torch import Tensor

from aef_core.atomic import write_new
from aef_core.errors import BadInput
from aef_core.faces.detection import NoFace, find_faces, framed
from aef_core.faces.pictures import open_picture
from aef_core.registry import SMALLEST

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; may leave the photo

SEARCH_SIDE = 1280  # MTCNN looks at a reduced copy: its time grows with the pixels
SURE = 0.9  # MTCNN's probability below which a box is not taken for a face
STRONGEST = 4.0  # times a perturbation made to stay unseen: beyond it, the photo is spoilt


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
    remark : str
        What the copy lacks of the photo, empty if nothing.
    """

    before: np.ndarray
    after: np.ndarray
    boxes: list[Box]
    saved: Path
    remark: str = ""

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
        A picture that `open_picture` takes, with a face in it. Transparency and an RGB colour
        profile are kept.
    delta : Tensor, shape [1, 3, s, s]
        A universal perturbation, in [-1, 1] units.
    folder : path, optional
        Where to write; beside the photo by default. It is made if need be.
    strength : float, in (0, 4]
        Multiplies the perturbation, and with it the bound on every pixel's change.

    Returns
    -------
    Protected

    Raises
    ------
    NotFound, NotWritable
        No such photo; it cannot be written there.
    NoFace
        MTCNN finds no face.
    BadInput
        Not a picture for `open_picture`; strength out of range, or so small that no pixel changes;
        a perturbation that is not universal or not finite.
    """
    check_strength(strength)
    if delta.dim() != 4 or len(delta) != 1 or delta.shape[1] != 3:
        raise BadInput(f"delta has shape {tuple(delta.shape)}, expected [1, 3, s, s]: universal")
    if not delta.isfinite().all():
        raise BadInput("delta has NaN or infinite entries: make it again")
    path = Path(path)
    photo = open_picture(path, keep_alpha=True)
    pixels = np.asarray(photo.convert("RGB"))
    boxes = face_squares(pixels)
    if not boxes:
        seen = f"{photo.width} x {photo.height} pixels"
        raise NoFace(f"{path}: MTCNN finds no face in {seen}: a larger one may help")
    after = overlay(pixels, delta, boxes, strength)
    if np.array_equal(after, pixels):
        raise BadInput(f"{path}: no pixel changes at strength {strength}: raise --strength")
    result = Image.fromarray(after)
    if photo.mode == "RGBA":
        result.putalpha(photo.getchannel("A"))
    profile, remark = _rgb_profile(photo)
    content = io.BytesIO()
    result.save(content, "PNG", icc_profile=profile)
    folder = path.parent if folder is None else Path(folder)
    saved = write_new(folder, f"{path.stem}-protected", ".png", content.getvalue())
    return Protected(pixels, after, boxes, saved, remark)


def check_strength(strength: float) -> None:
    """Refuse what is not in (0, 4], NaN included, or is zero in float32."""
    if not SMALLEST <= strength <= STRONGEST:
        raise BadInput(f"strength must be positive, at most {STRONGEST:g}, got {strength}")


def _rgb_profile(photo: Image.Image) -> tuple[bytes | None, str]:
    """The photo's colour profile if it fits an RGB file, and a remark if it does not.

    ICC.1:2022, 7.2: bytes 0-3 size, 16-19 colour space, 36-39 "acsp".
    """
    profile = photo.info.get("icc_profile")
    if not profile:
        return None, ""
    if profile[36:40] != b"acsp" or int.from_bytes(profile[:4]) != len(profile):
        return None, "its colour profile is damaged and left out"
    if profile[16:20] != b"RGB ":
        space = profile[16:20].decode("ascii", "replace").strip()
        return None, f"its colour profile is for {space}, not RGB, and left out"
    return profile, ""


def face_squares(pixels: np.ndarray) -> list[Box]:
    """Squares around all faces of a photo [H, W, 3], framed as the generators' faces are."""
    image = Image.fromarray(pixels)
    shrink = max(1.0, max(image.size) / SEARCH_SIDE)
    if shrink > 1:
        image = image.resize([max(1, round(side / shrink)) for side in image.size])
    [(boxes, scores)] = find_faces([image])
    return [framed(box) for box in boxes[scores >= SURE] * shrink]


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
