"""Bounds of a perturbation: the plain box, wavelet bands, or what another perturbation leaves.

The loop moves a parameter theta. A budget says which thetas are allowed (`project`), what they
stand for (`decode`) and what of that a photo receives (`added`); so a method with another
parametrization needs no loop of its own. Images and perturbations are in [-1, 1] units.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.errors import BadInput

CB_TO_RGB = (0.0, -0.344136, 1.772)  # BT.601, full range: neither column changes the luma
CR_TO_RGB = (1.402, -0.714136, 0.0)
BAND_SHARE = 0.8  # the DWT paper clips bands at 0.02 of [0, 1], that is 0.04 where eps is 0.05


@dataclass(frozen=True)
class Budget:
    """The plain box |d| <= eps; theta is d itself."""

    name: ClassVar[str] = "box"

    def shape(self, images: Tensor) -> tuple[int, ...]:
        """Shape of what the loop moves, for one perturbation of these images, [N, 3, H, W]."""
        return tuple(images.shape[1:])

    def project(self, delta: Tensor, eps: float) -> Tensor:
        """The nearest allowed theta, or a near one."""
        return delta.clamp(-eps, eps)

    def decode(self, theta: Tensor) -> Tensor:
        """The perturbation, shape [1 or N, 3, H, W]."""
        return theta

    def added(self, images: Tensor, delta: Tensor) -> Tensor:
        """What these photos receive, shape [1 or N, 3, H, W] or that of `images`."""
        return self.decode(delta)

    def identity(self) -> dict[str, Any]:
        """Name and settings, for the run's config."""
        return {"name": self.name, **asdict(self)}


BOX = Budget()


@dataclass(frozen=True)
class ChromaWavelet(Budget):
    """Haar bands of the two chroma channels: theta has shape [., 8, H / 2, W / 2].

    Channels 0 to 3 are LL, LH, HL, HH of Cb, channels 4 to 7 those of Cr, in units of the image
    ([-1, 1]). Each coefficient is clipped at 0.8 eps (the paper's 0.02 of [0, 1] at its eps), then
    the 2 x 2 block it belongs to is scaled down so that all of RGB stays within eps.
    """

    name: ClassVar[str] = "chroma-wavelet"

    def shape(self, images: Tensor) -> tuple[int, ...]:
        height, width = images.shape[-2:]
        if height % 2 or width % 2:
            raise BadInput(f"wavelet bands need even sides, the images are {height} x {width}")
        return (8, height // 2, width // 2)

    def decode(self, theta: Tensor) -> Tensor:
        cb, cr = haar_inverse(theta[:, :4]), haar_inverse(theta[:, 4:])
        blue, red = (theta.new_tensor(c).view(1, 3, 1, 1) for c in (CB_TO_RGB, CR_TO_RGB))
        return cb * blue + cr * red

    def project(self, delta: Tensor, eps: float) -> Tensor:
        theta = delta.clamp(-BAND_SHARE * eps, BAND_SHARE * eps)
        blocks = F.max_pool2d(self.decode(theta).abs(), 2)  # [., 3, H/2, W/2]
        worst = blocks.amax(dim=1, keepdim=True)
        return theta * (eps / worst.clamp_min(eps))


@dataclass(frozen=True)
class Separated(Budget):
    """TSDF's intensity separation: a second perturbation in the room a first one leaves.

    Formula: delta = u + M theta, M = 1[|u| < threshold] exp(-decay |u|). Where u, `base`, of shape
    [1, 3, H, W] and within the box, is strong it stays as it is; the weaker it is, the more room
    there is for theta. Threshold and decay are those of TSDF's code, for [-1, 1] and eps 0.05.
    """

    name: ClassVar[str] = "separated"
    base: Tensor = field(repr=False)
    threshold: float = 0.040
    decay: float = 5.0

    @property
    def room(self) -> Tensor:
        """The mask M, shape [1, 3, H, W], values in [0, 1]."""
        strength = self.base.abs()
        return (strength < self.threshold) * torch.exp(-self.decay * strength)

    def decode(self, theta: Tensor) -> Tensor:
        return self.base + self.room * theta

    def project(self, delta: Tensor, eps: float) -> Tensor:
        free = self.room > 0
        scale = torch.where(free, self.room, 1.0)
        low, high = (-eps - self.base) / scale, (eps - self.base) / scale
        return torch.where(free, delta.clamp(low, high), 0.0)


def haar_inverse(bands: Tensor) -> Tensor:
    """The inverse of one level of the orthonormal Haar transform, [B, 4, h, w] to [B, 1, 2 h, 2 w].

    Bands in PyWavelets' order: approximation, horizontal, vertical, diagonal detail (equal to
    `pywt.idwt2(bands, "haar")`).
    """
    s, h, v, d = bands.unbind(dim=1)
    block = torch.stack([s + h + v + d, s + h - v - d, s - h + v - d, s - h - v + d], dim=1) / 2
    return F.pixel_shuffle(block, 2)
