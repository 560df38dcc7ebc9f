"""Building blocks of HiSD: residual blocks that keep variance, with its own instance norm."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
EPS = 1e-5


def standardise(x: Tensor) -> Tensor:
    """Zero mean, unit *unbiased* standard deviation over H and W, as HiSD does it."""
    std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    return (x - mean) / (std + EPS)


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
        body = self.conv1(F.leaky_relu(self.in1(x), SLOPE))
        body = self.in2(F.avg_pool2d(body, 2))
        body = self.conv2(F.leaky_relu(body, SLOPE))
        # a 1x1 convolution and a pooling commute: pooling first costs a quarter
        skip = self.sc(F.avg_pool2d(x, 2))
        return (skip + body) / math.sqrt(2)


class UpBlock(_Block):
    """Doubles the image."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, channels_out)
        self.in1 = InstanceNorm(channels_in)
        self.in2 = InstanceNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        body = F.interpolate(F.leaky_relu(self.in1(x), SLOPE), scale_factor=2)
        body = self.conv2(F.leaky_relu(self.in2(self.conv1(body)), SLOPE))
        skip = F.interpolate(self.sc(x), scale_factor=2)
        return (skip + body) / math.sqrt(2)


class AdaptiveMiddleBlock(_Block):
    """Keeps the size; its two instance norms take their parameters from the style."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, channels)

    @staticmethod
    def params(channels: int) -> int:
        """How many numbers of the style vector one block consumes."""
        return 4 * channels

    def forward(self, x: Tensor, params: Tensor) -> Tensor:
        bias1, weight1, bias2, weight2 = params[:, :, None, None].chunk(4, dim=1)
        body = self.conv1(F.leaky_relu(standardise(x) * (weight1 + 1) + bias1, SLOPE))
        body = self.conv2(F.leaky_relu(standardise(body) * (weight2 + 1) + bias2, SLOPE))
        return (self.sc(x) + body) / math.sqrt(2)


class LinearBlock(nn.Module):
    """A ReLU, then a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(x))
