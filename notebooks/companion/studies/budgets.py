"""Where a perturbation is seen least: budgets other than the plain box, for notebook 08."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.metrics import protect, psnr, ssim
from aef_core.perturbation.budgets import Budget


def luma(x: Tensor) -> Tensor:
    """ITU-R BT.601 luma (Y of YCbCr) of RGB images, shape [B, 1, H, W], in the units of x."""
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class Chroma(Budget):
    """Colour only: the luma Y (BT.601) of the perturbation is zero at every pixel.

    Removing the luma from a colour leaves its Cb and Cr as they are, since grey has none; scaling
    the colour vector of a pixel, rather than clamping its channels, keeps the luma zero and
    |d| <= eps. Eyes resolve colour worse than brightness; so does JPEG, which halves it.
    """

    name: ClassVar[str] = "chroma"

    def project(self, delta: Tensor, eps: float) -> Tensor:
        colour = delta - luma(delta)
        peak = colour.abs().amax(dim=1, keepdim=True)
        return colour * (eps / peak.clamp_min(eps))


@dataclass(frozen=True)
class Luminance(Budget):
    """More where brightness hides it: a photo receives w(x) d with |d| <= eps.

    Formula: w is proportional to the just noticeable difference of Chou & Li (IEEE TCSVT 1995) for
    the mean luma b in 0..255 of a 5 x 5 window, 17 (1 - sqrt(b / 127)) + 3 below 127 and
    3 (b - 127) / 128 + 3 above, scaled so that the root mean square of w over a photo is 1: a
    saturated d then has the same PSNR as in the box.
    """

    name: ClassVar[str] = "luminance"

    def added(self, images: Tensor, delta: Tensor) -> Tensor:
        return self.weight(images) * delta

    def weight(self, images: Tensor) -> Tensor:
        """w(x), shape [B, 1, H, W], > 0, root mean square 1 per image."""
        b = _window_mean(luma(images).add(1).mul(127.5)).clamp(0, 255)
        dark = 17 * (1 - (b / 127).sqrt()) + 3
        return _unit_rms(torch.where(b <= 127, dark, 3 * (b - 127) / 128 + 3))


@dataclass(frozen=True)
class Texture(Luminance):
    """More where texture hides it: a photo receives w(x) d with |d| <= eps.

    Formula: w is proportional to 0.25 + min(s / mean(s), 2.5), s the standard deviation of luma in
    a 5 x 5 window; root mean square 1 per photo, as in `Luminance`. The constants are ours: the
    floor keeps skin from being left out, the cap keeps edges from taking all.
    """

    name: ClassVar[str] = "texture"

    def weight(self, images: Tensor) -> Tensor:
        y = luma(images)
        mean = _window_mean(y)
        s = (_window_mean(y.square()) - mean.square()).clamp_min(0).sqrt()
        typical = s.mean(dim=(2, 3), keepdim=True).clamp_min(1e-6)
        return _unit_rms(0.25 + (s / typical).clamp_max(2.5))


@dataclass(frozen=True)
class TargetPSNR(Budget):
    """At least this PSNR (dB) on top of the box.

    Formula: 10 log10(4 / mean(d^2)) >= psnr; the box is applied first, then the whole perturbation
    shrinks. (A feasible point, not the Euclidean projection onto the intersection.) Clamping to
    [-1, 1] and rounding to 8 bits are left out, so a published photo can differ by a few hundredths
    of a dB.
    """

    name: ClassVar[str] = "psnr"
    psnr: float = 38.0

    def __post_init__(self) -> None:
        if not 0 < self.psnr < 100:
            raise BadInput(f"psnr is out of range: {self.psnr} dB, must be in (0, 100)")

    def project(self, delta: Tensor, eps: float) -> Tensor:
        boxed = delta.clamp(-eps, eps)
        allowed = math.sqrt(4 / 10 ** (self.psnr / 10))
        rms = boxed.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return boxed * (allowed / rms.clamp_min(allowed))


BUDGETS: dict[str, type[Budget]] = {
    b.name: b for b in (Budget, Luminance, Texture, Chroma, TargetPSNR)
}


def make_budget(name: str, **settings: Any) -> Budget:
    """A budget by name.

    Raises
    ------
    ValueError
        Unknown name or a setting out of range; the message lists what is known.
    """
    if name not in BUDGETS:
        raise BadInput(f"unknown budget {name!r}; known: {', '.join(BUDGETS)}")
    return BUDGETS[name](**settings)


def faded(images: Tensor, delta: Tensor, target: float, measure: str = "ssim") -> Tensor:
    """The perturbation scaled down until the protected photos are as good as asked.

    Parameters
    ----------
    images : Tensor, shape [B, 3, H, W]
    delta : Tensor, shape [1 or B, 3, H, W]
    target : float
        Least mean SSIM, or PSNR in dB, of the published (8-bit) photos against the originals.
    measure : {"ssim", "psnr"}

    Returns
    -------
    Tensor, shape of `delta`: the largest factor in [0, 1] times delta, by bisection to 1 / 256.

    Raises
    ------
    ValueError
        Unknown measure, or a target that no photo reaches (SSIM above 1).
    """
    measures = {"ssim": ssim, "psnr": psnr}
    if measure not in measures:
        raise BadInput(f"unknown measure {measure!r}; known: {', '.join(measures)}")
    if measure == "ssim" and not 0 < target < 1:
        raise BadInput(f"target is out of range: SSIM {target}, must be in (0, 1)")

    def good(factor: float) -> bool:
        return measures[measure](images, protect(images, factor * delta)).mean() >= target

    if good(1.0):
        return delta
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low * delta


def _window_mean(y: Tensor, size: int = 5) -> Tensor:
    return F.avg_pool2d(F.pad(y, [size // 2] * 4, mode="reflect"), size, stride=1)


def _unit_rms(w: Tensor) -> Tensor:
    return w / w.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
