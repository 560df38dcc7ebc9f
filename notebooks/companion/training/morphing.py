"""Morphs: one photograph of nobody out of photographs of several people who look alike.

Averaged faces betray themselves by doubled lines and plastic skin. Here only what is coarse is
averaged: landmarks bring the parents into one shape that is nobody's, skin gets one tone, and in a
Laplacian pyramid every fine detail has a single owner, by region: eyes from one, mouth from
another, skin and hair from a third. Nothing fine is ever laid over something fine.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from companion.training.warping import HEIGHT, WIDTH, gaussian_blur, thin_plate_warp

# How far each band of the pyramid is averaged, finest first; the last is about 11 pixels wide.
AVERAGED = (0.0, 0.0, 0.25, 0.6, 1.0)
TRUST = 0.15  # difference in brightness at which a parent's say outside the face has faded
COARSE = (0.34, 0.33, 0.33)  # shares of the parents where they are averaged
SHAPE = (0.30, 0.35, 0.35)  # and in the positions of the landmarks


def face_outline(shape: np.ndarray) -> np.ndarray:
    """Closed outline of the face: the jaw of the 68 landmarks and an arc over the forehead."""
    centre = shape[27]
    brow = shape[17:27][::-1]
    return np.concatenate((shape[:17], centre + (brow - centre) * (1.0, 1.9) - (0, 8)))


def soft_mask(outline: np.ndarray, blur: float) -> Tensor:
    """[1, 1, H, W], 1 inside the polygon, 0 far outside."""
    canvas = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in outline.tolist()], fill=255)
    return gaussian_blur(torch.from_numpy(np.asarray(canvas) / 255.0).float()[None, None], blur)


def owners(shape: np.ndarray) -> Tensor:
    """Share of each parent in the fine detail, [3, 1, H, W], summing to one over the parents.

    The first owns skin and hair, the second the eyes with their brows, the third nostrils, mouth
    and chin. Soft edges, a few pixels wide, run over skin.
    """
    eyes = np.concatenate((shape[17:27] - (0, 6), shape[[45, 46, 41, 36]] + (0, 9)))
    low = shape[[31, 35, 54, 10, 9, 8, 7, 6, 48]]
    shares = torch.tensor([1.0, 0, 0]).view(3, 1, 1, 1).expand(3, 1, HEIGHT, WIDTH)
    for parent, outline in ((1, eyes), (2, low)):
        own = torch.eye(3)[parent].view(3, 1, 1, 1)
        shares = shares + soft_mask(outline, 4) * (own - shares)
    return shares


def trust_in(images: Tensor, shape: np.ndarray) -> Tensor:
    """How far each parent agrees with the first, [3, 1, H, W]: 1 inside the face and for the first.

    Outside the face two backgrounds or two partings cannot be averaged. Where one differs, it is
    left out instead of shining through.
    """
    off = gaussian_blur((images - images[:1]).square().mean(1, keepdim=True), 4.0)
    face = soft_mask(face_outline(shape), 6)
    return face + (1 - face) * torch.exp(-off / TRUST**2)


def share_out(shares: Tensor, trust: Tensor) -> Tensor:
    """Shares scaled by trust; what is taken from the others goes to the first parent."""
    others = (shares * trust)[1:]
    return torch.cat((1 - others.sum(0, keepdim=True), others))


def match_skin(images: Tensor, shape: np.ndarray) -> Tensor:
    """Give all parents the mean skin colour and contrast of the three; hair keeps its own."""
    core = soft_mask(face_outline(shape), 2)
    total = core.sum()
    mean = (images * core).sum((2, 3), keepdim=True) / total
    spread = ((images - mean).square() * core).sum((2, 3), keepdim=True).div(total).sqrt()
    matched = (images - mean) * (spread.mean(0) / spread).clamp(0.7, 1.4) + mean.mean(0)
    neck = np.concatenate((shape[3:14], [[shape[13, 0], HEIGHT], [shape[3, 0], HEIGHT]]))
    reach = torch.maximum(soft_mask(face_outline(shape), 7), soft_mask(neck, 7))
    return images + reach * (matched - images)


def blend(images: Tensor, shares: Tensor, trust: Tensor) -> Tensor:
    """Laplacian-pyramid blend: fine bands by their owner, coarse ones averaged.

    Parameters
    ----------
    images : Tensor, shape [3, 3, H, W], values in [0, 1]
    shares, trust : Tensor, shape [3, 1, H, W]
        See `owners` and `trust_in`.

    Returns
    -------
    Tensor, shape [3, H, W]
    """
    coarse = torch.tensor(COARSE).view(3, 1, 1, 1)
    mixed = []
    for averaged in AVERAGED[:-1]:
        smaller = F.interpolate(gaussian_blur(images, 1.0), scale_factor=0.5, mode="area")
        level = share_out(shares + averaged * (coarse - shares), trust) if averaged else shares
        mixed.append(((images - _upscale(smaller, images)) * level).sum(0, keepdim=True))
        images = smaller
        trust = F.interpolate(trust, images.shape[-2:], mode="area")
        shares = F.interpolate(shares, images.shape[-2:], mode="area")
    result = (images * share_out(coarse, trust)).sum(0, keepdim=True)
    for band in reversed(mixed):
        result = _upscale(result, band) + band
    return result[0].clamp(0, 1)


def _upscale(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)


def morph(images: Tensor, points: np.ndarray) -> tuple[Tensor, float]:
    """One face out of three.

    Parameters
    ----------
    images : Tensor, shape [3, 3, H, W], values in [0, 1]
        Parents in the CelebA frame; the first one leads outside the face.
    points : array, shape [3, 68, 2]
        Their landmarks (x, y) in pixels.

    Returns
    -------
    face : Tensor, shape [3, H, W], values in [0, 1]
    discord : float
        Root mean square difference of the parents from their mean inside the face, once their
        landmarks agree. Large values mean features that do not go together.
    """
    shape = np.tensordot(SHAPE, points, axes=1)
    images = thin_plate_warp(images, points, shape).clamp(0, 1)
    images = match_skin(images, shape)
    inner = soft_mask(face_outline(shape), 1)
    off = ((images - images.mean(0)).square().mean((0, 1)) * inner[0, 0]).sum() / inner.sum()
    return blend(images, owners(shape), trust_in(images, shape)), off.sqrt().item()
