"""Finding faces with a real detector: facenet-pytorch's MTCNN, whose weights ship in its wheel."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from torch import Tensor

from aef_core.errors import AEFError
from aef_core.faces.batch import to_uint8

MARGIN = 1.6  # side of the crop over the detected box: CelebA's framing
SIDE = 256  # pixels: MTCNN misses faces in small images, so they are enlarged to it
SMALLEST = 20  # pixels: MTCNN looks for no smaller face
BATCH = 32  # images of one size share a pass, which changes the speed and not the answer


class NoFace(AEFError, ValueError):
    """MTCNN finds no face; the message says in what."""


@lru_cache(maxsize=1)
def detector() -> MTCNN:
    """MTCNN itself, on the CPU."""
    return MTCNN(select_largest=True, min_face_size=SMALLEST, device="cpu")


def find_faces(images: Tensor | Sequence[Image.Image]) -> list[tuple[Tensor, Tensor]]:
    """The faces that MTCNN finds in each of N images, on the CPU.

    Pictures are searched as they are. A tensor, shape [N, 3, H, W] in [-1, 1], is `enlarged` first.

    Returns
    -------
    list of N pairs (boxes [k, 4], scores [k]), float64, k >= 0, the largest face first
        Left, top, right, bottom in pixels of the picture that was searched; probability of a face.
    """
    pictures = enlarged(images) if isinstance(images, Tensor) else list(images)
    found = []
    for size, group in groupby(pictures, key=lambda picture: picture.size):
        alike = list(group)
        for start in range(0, len(alike), BATCH):
            part = alike[start : start + BATCH]
            none = [None] * len(part)
            boxes, scores = (none, none) if min(size) < SMALLEST else detector().detect(part)
            for pair in zip(boxes, scores, strict=True):
                own = (np.zeros((0, 4)), np.zeros(0)) if pair[0] is None else pair
                found.append(tuple(torch.from_numpy(np.array(values, float)) for values in own))
    return found


def enlarged(images: Tensor) -> list[Image.Image]:
    """Images in [-1, 1], shape [N, 3, H, W], as 8-bit pictures of 256 x 256 pixels, bicubic."""
    pixels = to_uint8(images.detach()).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for p in pixels]


def crop_face(image: Image.Image) -> Image.Image:
    """The square around the largest face, framed as CelebA frames it; raises `NoFace`."""
    [(boxes, _)] = find_faces([image])
    if not len(boxes):
        raise NoFace(f"no face found in this image of {image.width} x {image.height} pixels")
    return image.crop(framed(boxes[0]))


def framed(box: Sequence[float]) -> tuple[int, int, int, int]:
    """The square around a detected box: left, top, right, bottom; it may leave the image."""
    left, top, right, bottom = (float(v) for v in box)
    side = MARGIN * max(right - left, bottom - top)
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2
    return tuple(round(v) for v in (x, y, x + side, y + side))
