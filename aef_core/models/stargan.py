"""StarGAN (Choi et al., CVPR 2018): one generator for all edits, told what to do by label planes.

AttentionGAN (Tang et al., IJCNN 2019, the multi-domain v1) shares its trunk; it paints a content
image and says where to use it. State-dict keys and shapes equal those of the public checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.models.base import DeepfakeModel

STARGAN_ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm that carries running statistics but never uses them.

    The published checkpoints hold running statistics, yet the published code never switches to
    eval mode, so the statistics of the image at hand are what the models were judged with.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def _normed(convolution: nn.Module) -> tuple[nn.Module, ...]:
    return convolution, InstanceNorm(convolution.out_channels), nn.ReLU()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_normed(nn.Conv2d(channels, channels, 3, 1, 1, bias=False)),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            InstanceNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class LabelPlaneModel(DeepfakeModel):
    """A generator whose condition is a binary attribute vector, spread over constant planes.

    Parameters
    ----------
    attributes : tuple of str
        What the planes mean, in order; these are also the edits.
    width, blocks : int
        Channels after the first convolution, and residual blocks; the tap is behind the last.
    image_size : int
        Pixels it was trained on; it takes others, too.
    """

    out_channels: int

    def __init__(
        self,
        attributes: tuple[str, ...] = STARGAN_ATTRIBUTES,
        width: int = 64,
        blocks: int = 6,
        image_size: int = 256,
    ) -> None:
        super().__init__()
        self.edits = self.attributes = tuple(attributes)
        self.image_size = image_size
        self.main = nn.Sequential(
            *_normed(nn.Conv2d(3 + len(attributes), width, 7, 1, 3, bias=False)),
            *_normed(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)),
            *_normed(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False)),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            *_normed(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)),
            *_normed(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False)),
            nn.Conv2d(width, self.out_channels, 7, 1, 3, bias=False),
        )
        self._tap = 9 + blocks  # nine layers lead to the residual blocks

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        planes = c[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return (self.main[: self._tap](torch.cat([x, planes], dim=1)),)


class StarGAN(LabelPlaneModel):
    """StarGAN's generator; paints the whole image anew."""

    name = "StarGAN"
    out_channels = 3

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        return self.main[self._tap :](codes[0]).tanh()


class AttentionGAN(LabelPlaneModel):
    """AttentionGAN's generator: `content * attention + x * (1 - attention)`."""

    name = "AttentionGAN"
    out_channels = 4

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        content, attention = self.content_and_attention(codes)
        return content * attention + x * (1 - attention)

    def content_and_attention(self, codes: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Content, shape [B, 3, H, W] (unbounded), and attention, shape [B, 1, H, W] in [0, 1]."""
        out = self.main[self._tap :](codes[0])
        return out[:, 1:], out[:, :1].sigmoid()
