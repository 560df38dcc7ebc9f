"""HiSD's networks: residual blocks that keep variance; style extractor, translator and mapper."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = 2**0.5  # a sum of two maps, divided by it, keeps their variance


def standardise(x: Tensor) -> Tensor:
    """Zero mean, unit *unbiased* standard deviation over H and W, as HiSD does it."""
    std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    return (x - mean) / (std + 1e-5)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class InstanceNorm(nn.Module):
    """HiSD's affine instance norm; parameters of shape (1, C, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return standardise(x) * self.weight[..., None] + self.bias[..., None]


class _Block(nn.Module):
    """`(skip + body) / sqrt(2)` with a 1x1 convolution on the skip."""

    def __init__(self, channels_in: int, channels_mid: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_mid, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels_mid, channels_out, 3, 1, 1)
        self.sc = nn.Conv2d(channels_in, channels_out, 1, bias=False)


class DownBlock(_Block):
    """Halves the image. `norm=False` is the extractor's variant."""

    def __init__(self, channels_in: int, channels_out: int, norm: bool = True) -> None:
        super().__init__(channels_in, channels_in, channels_out)
        self.in1 = InstanceNorm(channels_in) if norm else nn.Identity()
        self.in2 = InstanceNorm(channels_in) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        body = F.avg_pool2d(self.conv1(_leaky(self.in1(x))), 2)
        # a 1x1 convolution and a pooling commute: pooling first costs a quarter
        return (self.sc(F.avg_pool2d(x, 2)) + self.conv2(_leaky(self.in2(body)))) / SQRT2


class UpBlock(_Block):
    """Doubles the image."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, channels_out)
        self.in1 = InstanceNorm(channels_in)
        self.in2 = InstanceNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        body = self.conv1(F.interpolate(_leaky(self.in1(x)), scale_factor=2))
        skip = F.interpolate(self.sc(x), scale_factor=2)
        return (skip + self.conv2(_leaky(self.in2(body)))) / SQRT2


class AdaptiveBlock(_Block):
    """Keeps the size; its two instance norms take their parameters, 4 a channel, from the style."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, channels)

    def forward(self, x: Tensor, params: Tensor) -> Tensor:
        bias1, weight1, bias2, weight2 = params[:, :, None, None].chunk(4, dim=1)
        body = self.conv1(_leaky(standardise(x) * (weight1 + 1) + bias1))
        body = self.conv2(_leaky(standardise(body) * (weight2 + 1) + bias2))
        return (self.sc(x) + body) / SQRT2


class Extractors(nn.Module):
    """From a reference image to one style per tag, shape [B, tags, style_dim]."""

    def __init__(self, tags: int, width: int, downs: int, style_dim: int) -> None:
        super().__init__()
        widths = [min(width * 2**i, 16 * width) for i in range(downs + 1)]
        self.model = nn.Sequential(
            nn.Conv2d(3, width, 1),
            *(DownBlock(a, b, norm=False) for a, b in pairwise(widths)),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(widths[-1], tags * style_dim, 1),
        )
        self._shape = (tags, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).view(-1, *self._shape)


class Translator(nn.Module):
    """Moves a code towards a style, where its own mask says so."""

    def __init__(self, channels: int, width: int, blocks: int, style_dim: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, width, 1), *(AdaptiveBlock(width) for _ in range(blocks))
        )
        self.style_to_params = nn.Linear(style_dim, blocks * 4 * width)
        self.features = nn.Sequential(nn.Conv2d(width, channels, 1))
        self.masks = nn.Sequential(nn.Conv2d(width, channels, 1))

    def forward(self, code: Tensor, style: Tensor) -> Tensor:
        first, *blocks = self.model
        x = first(code)
        params = self.style_to_params(style).chunk(len(blocks), dim=1)
        for block, own in zip(blocks, params, strict=True):
            x = block(x, own)
        mask = self.masks(x).sigmoid()
        return self.features(x) * mask + code * (1 - mask)


class LinearBlock(nn.Module):
    """A ReLU, then a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(x))


class Mapper(nn.Module):
    """From noise [B, noise_dim] to a style of one attribute of a tag."""

    def __init__(self, attributes: int, noise_dim: int, width: int, style_dim: int) -> None:
        super().__init__()
        self.pre_model = nn.Sequential(
            nn.Linear(noise_dim, width), LinearBlock(width), LinearBlock(width)
        )
        self.post_models = nn.ModuleList(
            nn.Sequential(LinearBlock(width), LinearBlock(width), nn.Linear(width, style_dim))
            for _ in range(attributes)
        )

    def forward(self, noise: Tensor, attribute: int) -> Tensor:
        return self.post_models[attribute](self.pre_model(noise))
