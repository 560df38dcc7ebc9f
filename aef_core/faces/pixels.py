"""Pixels: the photo a person publishes, and how far one photo is from another."""

from collections.abc import Iterable

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from aef_core.faces.batch import from_uint8, to_uint8


def protect(images: Tensor, delta: Tensor) -> Tensor:
    """The images a person would publish: perturbed, clamped to [-1, 1], rounded once to 8 bits.

    `images` of shape [B, 3, H, W] in [-1, 1], `delta` of shape [1 or B, 3, H, W].
    """
    return from_uint8(to_uint8(images + delta))


def psnr(a: Tensor, b: Tensor) -> np.ndarray:
    """Peak signal-to-noise ratio of image pairs in [-1, 1], in dB, shape [B]; inf if equal."""
    with np.errstate(divide="ignore"):
        return np.array([peak_signal_noise_ratio(p, q, data_range=1.0) for p, q in _pairs(a, b)])


def ssim(a: Tensor, b: Tensor) -> np.ndarray:
    """Structural similarity of image pairs in [-1, 1], shape [B], values in [-1, 1].

    The standard one (Wang et al. 2004): 11-pixel Gaussian window, sigma 1.5, mean over RGB. The
    peers' window of 3 gives higher values and is not comparable.
    """
    standard = {"data_range": 1.0, "channel_axis": 0, "gaussian_weights": True, "sigma": 1.5,
                "use_sample_covariance": False}  # fmt: skip
    return np.array([structural_similarity(p, q, **standard) for p, q in _pairs(a, b)])


def _pairs(*images: Tensor) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    unit = (((x + 1) / 2).clamp(0, 1).double().cpu().numpy() for x in images)
    return zip(*unit, strict=True)
