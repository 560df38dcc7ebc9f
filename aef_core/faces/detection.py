"""Finding faces with a real detector: facenet-pytorch's MTCNN, whose weights ship in its wheel."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from facenet_pytorch import MTCNN
from PIL import Image
from torch import Tensor

from aef_core.errors import AEFError
from aef_core.faces.batch import to_uint8

MARGIN = 1.6  # side of the crop over the detected box: CelebA's framing


class NoFace(AEFError, ValueError):
    """MTCNN finds no face; the message says in what."""


@lru_cache(maxsize=1)
def detector() -> MTCNN:
    """MTCNN on the CPU, largest face first."""
    return MTCNN(select_largest=True, device="cpu")


def crop_face(image: Image.Image) -> Image.Image:
    """The square around the largest face, framed as CelebA frames it.

    Raises
    ------
    NoFace
        If MTCNN finds none.
    """
    boxes, _ = detector().detect(image)
    if boxes is None:
        raise NoFace(f"no face found in this image of {image.width} x {image.height} pixels")
    return image.crop(framed(boxes[0]))


def framed(box: Sequence[float]) -> tuple[int, int, int, int]:
    """The square around a detected box: left, top, right, bottom; it may leave the image."""
    left, top, right, bottom = (float(v) for v in box)
    side = MARGIN * max(right - left, bottom - top)
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2
    return tuple(round(v) for v in (x, y, x + side, y + side))


def detected(images: Tensor, size: int = 256, batch: int = 32) -> Tensor:
    """Whether MTCNN finds a face in each image, shape [B], bool; small images are enlarged.

    `batch` images share a pass, which changes the speed and not the answer.
    """
    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    side = (size, size)
    large = [Image.fromarray(p).resize(side, Image.Resampling.BICUBIC) for p in pixels]
    found = []
    for start in range(0, len(large), batch):
        boxes, _ = detector().detect(large[start : start + batch])
        found += [box is not None for box in boxes]
    return torch.tensor(found, dtype=torch.bool)
