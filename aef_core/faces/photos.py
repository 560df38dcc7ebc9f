"""A person's own photos: the perturbation laid over every face, at the photo's own resolution.

A generator sees a face as a small square. Here the perturbation is enlarged to that square's place
in the photo and added there; no other pixel changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from aef_core.atomic import write_new
from aef_core.errors import BadInput
from aef_core.faces.detection import NoFace, find_faces, framed
from aef_core.faces.pictures import encode_like, open_picture, read_picture, upright
from aef_core.registry import SMALLEST

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; may leave the photo

SEARCH_SIDE = 1280  # MTCNN looks at a reduced copy: its time grows with the pixels
SURE = 0.9  # MTCNN's probability below which a box is not taken for a face
STRONGEST = 4.0  # times a perturbation made to stay unseen: beyond it, the photo is spoilt


@dataclass(frozen=True)
class Protected:
    """A photo before and after: pixels [H, W, 3], uint8, upright and without transparency."""

    before: np.ndarray
    after: np.ndarray  # as whoever opens the written file sees them
    boxes: list[Box]  # where the perturbation lies, largest face first
    saved: Path  # the file that was written
    remarks: tuple[str, ...] = ()  # see `encode_like`

    def psnr(self, box: Box) -> float:
        """Peak signal-to-noise ratio in dB of one square of the photo; inf if equal."""
        part = _inside(self.before, box)
        with np.errstate(divide="ignore"):
            return float(peak_signal_noise_ratio(self.before[part], self.after[part]))


def protect_photo(
    path: str | Path,
    delta: Tensor,
    folder: str | Path | None = None,
    strength: float = 1.0,
    keep_exif: bool = True,
) -> Protected:
    """Protect a photo's faces; write `<name>-protected.jpg` or `.png`, never over another file.

    Parameters
    ----------
    path : path
        A picture that `read_picture` takes; saved as `encode_like` says.
    delta : Tensor, shape [1, 3, s, s]
        A universal perturbation, in [-1, 1] units.
    folder : path, optional
        Where to write, made if need be; beside the photo by default.
    strength : float, in (0, 4]
        Multiplies the perturbation, and with it the bound on every pixel's change.
    keep_exif : bool
        Keep date, place, camera and orientation; else the pixels are turned upright.

    Raises
    ------
    NotFound, NotWritable, NoFace
        No such photo; it cannot be written there; MTCNN finds no face in it.
    BadInput
        Not a picture for `read_picture`; strength out of range, or so small that no pixel changes;
        a perturbation that is not universal or not finite.
    """
    check_strength(strength)
    if delta.dim() != 4 or len(delta) != 1 or delta.shape[1] != 3:
        raise BadInput(f"delta has shape {tuple(delta.shape)}, expected [1, 3, s, s]: universal")
    if not delta.isfinite().all():
        raise BadInput("delta has NaN or infinite entries: make it again")
    path = Path(path)
    original = read_picture(path)
    photo = upright(original, keep_alpha=True)
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
    content, suffix, remarks = encode_like(original, result, keep_exif)
    folder = path.parent if folder is None else Path(folder)
    saved = write_new(folder, f"{path.stem}-protected", suffix, content)
    return Protected(pixels, np.asarray(open_picture(content)), boxes, saved, remarks)


def check_strength(strength: float) -> None:
    """Raise `BadInput` for what is not in (0, 4], for NaN, and for what is zero in float32."""
    if not SMALLEST <= strength <= STRONGEST:
        raise BadInput(f"strength must be positive, at most {STRONGEST:g}, got {strength}")


def face_squares(pixels: np.ndarray) -> list[Box]:
    """Squares around all faces of a photo [H, W, 3], framed as the generators' faces are."""
    image = Image.fromarray(pixels)
    shrink = max(1.0, max(image.size) / SEARCH_SIDE)
    small = image.resize([max(1, round(side / shrink)) for side in image.size])
    [(boxes, scores)] = find_faces([small])
    return [framed(box) for box in boxes[scores >= SURE] * shrink]


def overlay(
    pixels: np.ndarray, delta: Tensor, boxes: Sequence[Box], strength: float = 1.0
) -> np.ndarray:
    """Pixels with the perturbation on every square, rounded once to 8 bits.

    Formula: p + 127.5 clip(sum_b resize(strength delta, b), -c, c) with c = strength max|delta|:
    where squares overlap, and where bicubic resizing overshoots, the bound holds all the same.
    Pixels of shape [H, W, 3], uint8; delta of shape [1, 3, s, s], in [-1, 1] units.
    """
    bound = strength * delta.abs().max().item()
    scaled = strength * delta.detach().cpu().float()
    change, after = np.zeros(pixels.shape, np.float32), pixels.copy()
    for left, top, right, bottom in boxes:
        # bicubic: per visible change, more survives the forger's own shrinking than of nearest
        square = F.interpolate(scaled, (bottom - top, right - left), mode="bicubic", antialias=True)
        place = change[_inside(pixels, (left, top, right, bottom))]
        patch = square[0].permute(1, 2, 0).numpy()[max(-top, 0) :, max(-left, 0) :]
        place += patch[: place.shape[0], : place.shape[1]]
    for part in (_inside(pixels, box) for box in boxes):  # a phone's photo is large, a face small
        moved = pixels[part] + 127.5 * change[part].clip(-bound, bound)
        after[part] = moved.round().clip(0, 255)
    return after


def _inside(pixels: np.ndarray, box: Box) -> tuple[slice, slice]:
    """Rows and columns of the part of a square that lies in the photo."""
    left, top, right, bottom = box
    return slice(max(top, 0), bottom), slice(max(left, 0), right)
