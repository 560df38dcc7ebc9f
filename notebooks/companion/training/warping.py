"""Bringing photographs of several people into one shape, by their landmarks."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, HEIGHT = 178, 218  # the aligned CelebA frame, in which everything here is done


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of [N, C, H, W] with replicated borders."""
    radius = max(1, round(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    return flat.reshape(images.shape)


def sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Look-up of [N, C, H, W] at pixel coordinates x and y, each [N, H', W']."""
    height, width = images.shape[-2:]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    return F.grid_sample(images, grid, "bicubic", "reflection", align_corners=True)


def pixel_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Coordinates (x, y) of every pixel, each [H, W]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return x.float(), y.float()


def border_points(step: int = 25) -> np.ndarray:
    """Anchors around the frame, which keep the borders where they are."""
    xs, ys = np.linspace(0, WIDTH - 1, WIDTH // step), np.linspace(0, HEIGHT - 1, HEIGHT // step)
    sides = [np.stack((np.full_like(ys, x), ys), 1) for x in (0, WIDTH - 1)]
    ends = [np.stack((xs, np.full_like(xs, y)), 1)[1:-1] for y in (0, HEIGHT - 1)]
    return np.concatenate(sides + ends)


def thin_plate_warp(images: Tensor, points: np.ndarray, target: np.ndarray) -> Tensor:
    """Move each image's landmarks onto the target shape by a thin-plate spline.

    A spline bends where piecewise-affine triangles would kink, which shows on glasses and jaws.

    Parameters
    ----------
    images : Tensor, shape [N, 3, H, W]
    points : array, shape [N, P, 2]
        Each image's landmarks (x, y).
    target : array, shape [P, 2]
        Where they shall lie.
    """
    anchors = border_points()
    knots = torch.from_numpy(np.concatenate((target, anchors))).double()
    ends = torch.from_numpy(
        np.stack([np.concatenate((shape, anchors)) for shape in points])
    ).double()
    n = len(knots)
    affine = torch.cat((torch.ones(n, 1).double(), knots), dim=1)
    system = torch.zeros(n + 3, n + 3).double()
    system[:n, :n] = _radial(torch.cdist(knots, knots)) + 10.0 * torch.eye(n)  # slightly smoothing
    system[:n, n:], system[n:, :n] = affine, affine.T
    wanted = torch.cat((ends - knots, torch.zeros(len(ends), 3, 2).double()), dim=1)
    weights = torch.linalg.solve(system, wanted)

    # The displacement is smooth: a quarter of the resolution is enough to evaluate it on.
    x, y = pixel_grid(HEIGHT, WIDTH)
    coarse_x, coarse_y = pixel_grid((HEIGHT + 3) // 4, (WIDTH + 3) // 4)
    where = torch.stack((coarse_x, coarse_y), -1).reshape(-1, 2).double()
    where = where * torch.tensor([(WIDTH - 1) / (coarse_x.max()), (HEIGHT - 1) / coarse_y.max()])
    basis = torch.cat(
        (_radial(torch.cdist(where, knots)), torch.ones(len(where), 1).double(), where), dim=1
    )
    shift = (basis @ weights).float().reshape(len(ends), *coarse_x.shape, 2).permute(0, 3, 1, 2)
    shift = F.interpolate(shift, (HEIGHT, WIDTH), mode="bilinear", align_corners=True)
    return sample(images, x + shift[:, 0], y + shift[:, 1])


def _radial(distance: Tensor) -> Tensor:
    return distance.square() * torch.log(distance + 1e-6)
