"""Self-blended images: forgeries without a forger, made of one photograph and itself.

Shiohara & Yamasaki, CVPR 2022 (arXiv 2204.08376): a retouched, slightly moved copy of the face is
blended back into the photograph. What is left to see is a boundary, and two textures that differ.
Written from the published recipe; lengths in pixels there (faces of about 250) scale with the face.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from scipy.spatial import ConvexHull
from torch import Tensor

REFERENCE = 250  # pixels of the images the recipe's lengths are for
RATIOS = (0.25, 0.5, 0.75, 1, 1, 1)  # opacity of the blended face
SHIFT, SHIFT_DOWN, SCALE = 0.03, 0.015, 0.95  # of the copy, in shares of the side
ELASTIC, ELASTIC_SIGMA = 50, 7  # of the mask, at the reference


def blend_pairs(
    images: Tensor,
    landmarks: np.ndarray,
    rng: np.random.Generator,
    sources: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Real and self-blended images with masks: one pair a photograph.

    The retouching falls on the copy or on the photograph. In the second case the real of the pair
    carries it too, so that colour and sharpness by themselves tell nothing.

    Parameters
    ----------
    images : Tensor, uint8, shape [N, 3, S, S]
    landmarks : array, shape [N, 68, 2] (or more points), x and y in pixels
    rng : numpy Generator
    sources : Tensor, uint8, shape [N, 3, S, S], optional
        Other people's faces, already brought into the frame of `images`: a cross-identity blend
        (Face X-ray, Li et al., CVPR 2020) instead of a self-blended image.

    Returns
    -------
    reals, blended : Tensor, uint8, shape [N, 3, S, S]
    masks : Tensor, float32 in [0, 1], shape [N, 1, S, S]
    """
    sources = images if sources is None else sources
    made = [
        _pair(*(x.permute(1, 2, 0).numpy().astype(np.float32) for x in (target, source)), hull, rng)
        for target, source, hull in zip(images, sources, landmarks, strict=True)
    ]
    reals, blended, masks = (np.stack(part) for part in zip(*made, strict=True))
    reals, blended = (
        torch.from_numpy(x.round().clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()
        for x in (reals, blended)
    )
    return reals, blended, torch.from_numpy(masks)[:, None]


def _pair(
    target: np.ndarray, source: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if rng.random() < 0.5:
        source = retouch(source, rng)
    else:
        target = retouch(target, rng)
    side = len(target)
    source, mask = _move(source, hull_mask(points, side), rng)
    mask = soften(_elastic(mask, rng), rng) * rng.choice(RATIOS)
    blended = mask[..., None] * source + (1 - mask[..., None]) * target
    return target, blended, mask.astype(np.float32)


def hull_mask(points: np.ndarray, side: int) -> np.ndarray:
    """1 inside the convex hull of the landmarks, 0 outside; float32, shape [side, side]."""
    corners = points[ConvexHull(points).vertices]
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).polygon([tuple(map(float, c)) for c in corners], fill=1)
    return np.asarray(image, np.float32)


def retouch(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour, light and sharpness changed a little; values 0..255, shape [S, S, 3].

    The recipe's HSV shift of 0.3 counts in units of 1 in 255 there, less than rounding: left out.
    """
    if rng.random() < 0.3:
        image = image + rng.uniform(-20, 20, 3)
    contrast, brightness = rng.uniform(-0.1, 0.1, 2)
    image = (image * (1 + contrast) + 255 * brightness).clip(0, 255)
    if rng.random() < 0.5:
        return _coarser(image, rng.uniform(2, 4))
    edges = image - gaussian_filter(image, (1, 1, 0))
    return (image + 4 * rng.uniform(0.2, 0.5) * edges).clip(0, 255)


def _coarser(image: np.ndarray, factor: float) -> np.ndarray:
    side = len(image)
    picture = Image.fromarray(image.round().astype(np.uint8))
    small = picture.resize((max(1, int(side / factor)),) * 2, Image.Resampling.NEAREST)
    return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def _move(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask shifted and scaled alike, about the middle."""
    side = len(image)
    scale = rng.uniform(SCALE, 1 / SCALE)
    shift = side * rng.uniform((-SHIFT_DOWN, -SHIFT), (SHIFT_DOWN, SHIFT))
    offset = (side - 1) / 2 * (1 - 1 / scale) - shift / scale
    matrix = np.eye(2) / scale
    channels = (image[..., c] for c in range(3))
    moved = [affine_transform(c, matrix, offset, order=1, mode="nearest") for c in channels]
    return np.stack(moved, -1), affine_transform(mask, matrix, offset, order=1)


def _elastic(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask along a smooth random displacement."""
    side = len(mask)
    scale = side / REFERENCE
    noise = rng.uniform(-1, 1, (2, side, side))
    # smoothed over more pixels, noise gets weaker: the factor keeps the displacement to scale
    fields = [gaussian_filter(n, ELASTIC_SIGMA * scale) * ELASTIC * scale * scale for n in noise]
    return map_coordinates(mask, np.indices(mask.shape) + fields, order=1)


def soften(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask shrunk by one blur (only what stays 1 is kept) and blurred again; values 0..1."""
    scale = len(mask) / REFERENCE
    first, second = rng.choice(np.arange(5, 26, 2), 2)
    shrunk = gaussian_filter(mask, _sigma(first) * scale, radius=max(1, round(first / 2 * scale)))
    shrunk = (shrunk >= 0.999 * shrunk.max()).astype(np.float32)
    reach = max(1, round(second / 2 * scale))
    blurred = gaussian_filter(shrunk, rng.integers(5, 46) * scale, radius=reach)
    return blurred / max(float(blurred.max()), 1e-6)


def _sigma(kernel: int) -> float:
    """The blur that OpenCV gives a kernel of so many pixels."""
    return 0.3 * ((kernel - 1) / 2 - 1) + 0.8
