"""Morphs: fine detail has one owner a region, what is coarse is shared."""

import numpy as np
import torch
from torch import Tensor

from companion.training.morphing import morph, owners
from companion.training.warping import HEIGHT, WIDTH, gaussian_blur


def landmarks() -> np.ndarray:
    """A plain face of 68 points in the frame of CelebA."""

    def arc(n: int, centre: tuple, radii: tuple, start: float, stop: float) -> np.ndarray:
        angle = np.radians(np.linspace(start, stop, n))
        return np.stack((np.cos(angle), np.sin(angle)), 1) * radii + centre

    parts = (
        arc(17, (89, 112), (45, 60), 180, 0),  # jaw, through the chin
        arc(5, (70, 96), (14, 6), 180, 360),
        arc(5, (108, 96), (14, 6), 180, 360),
        np.linspace((89, 108), (89, 128), 4),
        arc(5, (89, 130), (9, 4), 180, 0),
        arc(6, (70, 110), (8, 4), 180, 480),
        arc(6, (108, 110), (8, 4), 180, 480),
        arc(12, (89, 150), (18, 7), 180, 510),
        arc(8, (89, 150), (13, 4), 180, 495),
    )
    return np.concatenate(parts)


def noise(seed: int) -> Tensor:
    """Fine texture on grey, without anything coarse."""
    texture = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.3 * (texture - gaussian_blur(texture, 2.0)))[0]


def likeness(one: Tensor, other: Tensor, where: Tensor) -> float:
    """Correlation of two pictures within a mask."""
    inside = where.expand(3, -1, -1) > 0.95
    return float(torch.corrcoef(torch.stack((one[inside], other[inside])))[0, 1])


def test_each_region_shows_the_detail_of_its_owner() -> None:
    points = np.stack([landmarks()] * 3)
    parents = torch.stack([noise(seed) for seed in range(3)])
    face, _ = morph(parents, points)
    for region, own in enumerate(owners(points[0])):
        alike = [likeness(face, parent, own) for parent in parents]
        assert np.argmax(alike) == region
        assert alike[region] > 0.9
        assert max(np.delete(alike, region)) < 0.3


def test_coarse_brightness_is_shared_inside_the_face() -> None:
    points = np.stack([landmarks()] * 3)
    ramp = torch.linspace(-0.1, 0.1, WIDTH).expand(3, HEIGHT, WIDTH)
    parents = torch.stack((0.5 + ramp, 0.5 - ramp, 0.5 - ramp))
    face, discord = morph(parents, points)
    chin = face[0, 140, 60:118]
    assert chin[-1] < chin[0] - 0.01, "two of three darken to the right"
    assert discord > 0.02
    _, none = morph(parents[1:2].expand(3, -1, -1, -1), points)
    assert none < 1e-3


def test_three_times_the_same_photograph_stays_itself() -> None:
    points = np.stack([landmarks()] * 3)
    photo = gaussian_blur(noise(7)[None], 1.0)[0]
    face, _ = morph(photo.expand(3, -1, -1, -1), points)
    assert float((face - photo).abs().mean()) < 0.004
