"""The 68 landmarks of a face: dlib's where it is installed, else a template laid over MTCNN's five.

The embedded faces' landmarks ship with the package, so that the demo needs neither.
"""

import zlib
from functools import lru_cache

import numpy as np
from PIL import Image
from torch import Tensor

from aef_core.faces import FaceBatch, to_uint8
from aef_core.faces.detection import detector
from companion.config import ASSETS

STORED = ASSETS / "detectors" / "landmarks128.npz"
LARGE = 256  # pixels a face is enlarged to, as small ones are missed; unit of the stored points
EYES = (slice(36, 42), slice(42, 48))  # the five points of MTCNN among the 68
NOSE, MOUTH = 30, (48, 54)


@lru_cache(maxsize=1)
def template() -> np.ndarray:
    """Mean landmarks of the embedded faces, shape [68, 2], in shares of the image side."""
    with np.load(STORED) as stored:
        return np.concatenate([stored["train"], stored["test"]]).mean(0) / LARGE


def stored_landmarks(faces: FaceBatch, split: str) -> np.ndarray:
    """Landmarks [N, 68, 2] in pixels of embedded faces; found anew where pixels have changed."""
    sums = [zlib.crc32(image.numpy().tobytes()) for image in to_uint8(faces.images)]
    with np.load(STORED) as stored:
        points = dict(zip(stored[f"{split}_crc"].tolist(), stored[split] / LARGE, strict=True))
    if all(s in points for s in sums):
        return np.stack([points[s] for s in sums]) * faces.images.shape[-1]
    return find_landmarks(faces.images)


def find_landmarks(images: Tensor) -> np.ndarray:
    """Landmarks of each face, the template's where no face is found.

    Parameters
    ----------
    images : Tensor, shape [N, 3, S, S], values in [-1, 1]

    Returns
    -------
    array, shape [N, 68, 2], x and y in pixels of S
    """
    side = images.shape[-1]
    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    box = (LARGE, LARGE)
    large = [Image.fromarray(p).resize(box, Image.Resampling.BICUBIC) for p in pixels]
    find = _dlib_points() or _template_points
    found = [find(image) for image in large]
    return np.stack([template() * LARGE if p is None else p for p in found]) * (side / LARGE)


@lru_cache(maxsize=1)
def _dlib_points():
    from companion.training.people import Landmarks

    try:
        return Landmarks()
    except SystemExit:  # its way to say that dlib is missing
        return None


def _template_points(image: Image.Image) -> np.ndarray | None:
    """The template, moved by the similarity that best brings its five points to MTCNN's."""
    _, _, points = detector().detect(image, landmarks=True)
    return None if points is None else place_template(np.asarray(points[0], float), LARGE)


def place_template(five: np.ndarray, side: int) -> np.ndarray:
    """Landmarks [68, 2] in pixels from both eyes, nose and mouth corners, shape [5, 2]."""
    full = template() * side
    own = np.stack([full[EYES[0]].mean(0), full[EYES[1]].mean(0), full[NOSE], *full[list(MOUTH)]])
    a, b = (p[:, 0] + 1j * p[:, 1] for p in (own, five))
    turn = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean()).real
    moved = turn * (full[:, 0] + 1j * full[:, 1] - a.mean()) + b.mean()
    return np.stack([moved.real, moved.imag], axis=1)
