"""Morphs: one photograph of nobody out of photographs of several people who look alike.

Three steps, each against one way in which averaged faces betray themselves. Landmarks bring the
parents into one shape (no doubled eyes), a dense registration brings hair, collar and background
into one outline (no ghosts), and a Laplacian pyramid with regional weights restores the contrast
that every average loses (no plastic skin).
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from aef_core.training.warping import (
    HEIGHT,
    WIDTH,
    gaussian_blur,
    pixel_grid,
    register,
    sample,
    thin_plate_warp,
)

LEVELS = 5  # of the Laplacian pyramid; the coarsest is about 11 pixels wide
TRUST = 0.15  # difference in brightness at which a parent's say outside the face has faded
GREATEST_GAIN = 1.7  # of a band's contrast: beyond it, compression noise comes up

# Shares of the parents by region. Nobody gives more than half of anything inside the face. Outside
# it the first parent leads in detail, since hair and background forgive averaging least, but not
# in colour, which is shared (COARSE) towards the coarsest band.
SHARES = {
    "outside": (0.60, 0.20, 0.20),
    "skin": (0.34, 0.33, 0.33),
    "eyes": (0.20, 0.50, 0.30),
    "mouth": (0.20, 0.30, 0.50),
}
COARSE = (0.34, 0.33, 0.33)
SHAPE = (0.30, 0.35, 0.35)


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


def region_shares(shape: np.ndarray) -> Tensor:
    """Share of each parent at each pixel, [3, 1, H, W], summing to one over the parents."""
    eyes = np.concatenate((shape[17:27] - (0, 6), shape[[45, 46, 41, 36]] + (0, 9)))
    low = shape[[31, 35, 54, 10, 9, 8, 7, 6, 48]]
    masks = {
        "skin": soft_mask(face_outline(shape), 5),
        "eyes": soft_mask(eyes, 5),
        "mouth": soft_mask(low, 5),
    }
    shares = torch.tensor(SHARES["outside"]).view(3, 1, 1, 1).expand(3, 1, HEIGHT, WIDTH)
    for name, mask in masks.items():
        shares = shares + mask * (torch.tensor(SHARES[name]).view(3, 1, 1, 1) - shares)
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
    """Laplacian-pyramid blend that keeps the parents' contrast.

    Where structures do not match exactly an average loses contrast. Each band is therefore scaled
    so that its local energy equals the parents' mean energy, up to `GREATEST_GAIN`.

    Returns
    -------
    Tensor, shape [3, H, W]
    """
    bands, weights = [], []
    coarse = torch.tensor(COARSE).view(3, 1, 1, 1)
    for level in range(LEVELS - 1):
        smaller = F.interpolate(gaussian_blur(images, 1.0), scale_factor=0.5, mode="area")
        bands.append(images - _upscale(smaller, images))
        level_shares = shares + level / (LEVELS - 1) * (coarse - shares)
        weights.append(share_out(level_shares, trust))
        images = smaller
        trust = F.interpolate(trust, images.shape[-2:], mode="area")
        shares = F.interpolate(shares, images.shape[-2:], mode="area")
    result = (images * share_out(coarse, trust)).sum(0, keepdim=True)
    for band, share in zip(reversed(bands), reversed(weights), strict=True):
        mixed = (band * share).sum(0, keepdim=True)
        wanted = gaussian_blur((band.square() * share).sum((0, 1), keepdim=True), 3.0)
        got = gaussian_blur(mixed.square().sum(1, keepdim=True), 3.0)
        gain = ((wanted + 1e-6) / (got + 1e-6)).sqrt().clamp(1.0, GREATEST_GAIN)
        result = _upscale(result, mixed) + mixed * gain
    return result[0].clamp(0, 1)


def _upscale(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, like.shape[-2:], mode="bilinear", align_corners=False)


def morph(images: Tensor, points: np.ndarray) -> tuple[Tensor, float, float]:
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
        What registration could not reconcile inside the face: root mean square difference of the
        parents from their mean. Large values mean ghosts.
    lead : float
        Mean share of the first parent in the detail outside the face.
    """
    shape = np.tensordot(SHAPE, points, axes=1)
    images = thin_plate_warp(images, points, shape)
    images = match_skin(images, shape)
    fields = register(images[1:], images[:1].expand(len(images) - 1, -1, -1, -1))
    fields = torch.cat((torch.zeros_like(fields[:1]), fields))
    x, y = pixel_grid(HEIGHT, WIDTH)
    trust = trust_in(sample(images, x + fields[:, 0], y + fields[:, 1]), shape)

    # Meet in the middle: the outline of the hair is everybody's mean too, not the first parent's.
    face = soft_mask(face_outline(shape), 8)
    pull = torch.tensor(SHAPE).view(3, 1, 1, 1) * gaussian_blur(trust, 6.0)
    middle = -(pull * fields).sum(0, keepdim=True) * (1 - face)
    x, y = x + middle[:, 0], y + middle[:, 1]
    fields = sample(fields, x.expand(len(fields), -1, -1), y.expand(len(fields), -1, -1))
    images = sample(images, x + fields[:, 0], y + fields[:, 1]).clamp(0, 1)
    trust = trust_in(images, shape)

    inner = soft_mask(face_outline(shape), 1)
    off = ((images - images.mean(0)).square().mean((0, 1)) * inner[0, 0]).sum() / inner.sum()
    shares, outside = region_shares(shape), 1 - soft_mask(face_outline(shape), 5)
    lead = (share_out(shares, trust)[:1] * outside).sum() / outside.sum()
    return blend(images, shares, trust), off.sqrt().item(), lead.item()
