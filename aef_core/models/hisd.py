"""HiSD (Li et al., CVPR 2021): hierarchical style disentanglement.

A face is encoded once; a translator per tag (bangs, glasses, hair colour) moves the code in the
direction of a style; the style comes from noise or from a reference photo. Built from the paper
and from published shapes; state-dict keys and shapes equal the public checkpoint's.
"""

import zlib
from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.models.base import HAIR_COLOURS, DeepfakeModel, attribute_index, edit_attributes

OFFICIAL_TAGS = {
    "Bangs": ("Bangs", None),
    "Eyeglasses": ("Eyeglasses", None),
    "HairColor": HAIR_COLOURS,
}
"""Tag -> its attributes in the checkpoint's order; None stands for "without"."""

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
    """`(skip + body) / sqrt(2)`: a 1x1 convolution and two 3x3, narrow between these."""

    def __init__(self, n_in: int, n_out: int, norm: type[nn.Module] = InstanceNorm) -> None:
        super().__init__()
        n_mid = min(n_in, n_out)
        self.conv1 = nn.Conv2d(n_in, n_mid, 3, 1, 1)
        self.conv2 = nn.Conv2d(n_mid, n_out, 3, 1, 1)
        self.sc = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.in1, self.in2 = norm(n_in), norm(n_mid)


class DownBlock(_Block):
    """Halves the image."""

    def forward(self, x: Tensor) -> Tensor:
        body = F.avg_pool2d(self.conv1(_leaky(self.in1(x))), 2)
        # a 1x1 convolution and a pooling commute: pooling first costs a quarter
        return (self.sc(F.avg_pool2d(x, 2)) + self.conv2(_leaky(self.in2(body)))) / SQRT2


class UpBlock(_Block):
    """Doubles the image."""

    def forward(self, x: Tensor) -> Tensor:
        body = self.conv1(F.interpolate(_leaky(self.in1(x)), scale_factor=2))
        skip = F.interpolate(self.sc(x), scale_factor=2)
        return (skip + self.conv2(_leaky(self.in2(body)))) / SQRT2


class AdaptiveBlock(_Block):
    """Keeps the size; the style gives the parameters of its norms, four per channel."""

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
            *(DownBlock(a, b, nn.Identity) for a, b in pairwise(widths)),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(widths[-1], tags * style_dim, 1),
        )
        self._tags = tags

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).view(len(x), self._tags, -1)


class Translator(nn.Module):
    """Moves a code towards a style, where its own mask says so."""

    def __init__(self, channels: int, width: int, blocks: int, style_dim: int) -> None:
        super().__init__()
        middle = (AdaptiveBlock(width, width, nn.Identity) for _ in range(blocks))
        self.model = nn.Sequential(nn.Conv2d(channels, width, 1), *middle)
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


def _linears(width: int) -> list[nn.Module]:
    parts = (OrderedDict(relu=nn.ReLU(), linear=nn.Linear(width, width)) for _ in range(2))
    return [nn.Sequential(part) for part in parts]


class Mapper(nn.Module):
    """From noise [B, noise_dim] to a style of one attribute of a tag."""

    def __init__(self, attributes: int, noise_dim: int, width: int, style_dim: int) -> None:
        super().__init__()
        self.pre_model = nn.Sequential(nn.Linear(noise_dim, width), *_linears(width))
        self.post_models = nn.ModuleList(
            nn.Sequential(*_linears(width), nn.Linear(width, style_dim)) for _ in range(attributes)
        )

    def forward(self, noise: Tensor, attribute: int) -> Tensor:
        return self.post_models[attribute](self.pre_model(noise))


class HiSD(DeepfakeModel):
    """HiSD's generator; all defaults are the official ones.

    A condition is `[one-hot tag, style]`, so images of one batch may be edited in different ways.
    Styles of photos x, as the attack literature has them, are `extractors(x)[:, tag]`.

    Parameters
    ----------
    tags : dict of str to tuple
        As `OFFICIAL_TAGS`.
    width, downs, blocks : int
        Encoder: channels of its first layer, halvings; translators: blocks.
    extractor_width, extractor_downs, style_dim, noise_dim, mapper_width : int
        Extractor: channels of its first layer, halvings; numbers in a style, and in the noise and
        the layers that mappers make it of.
    image_size : int
        Pixels; a multiple of 2**downs.
    """

    name = "HiSD"

    def __init__(
        self,
        tags: dict[str, tuple[str | None, ...]] = OFFICIAL_TAGS,
        width: int = 64,
        downs: int = 2,
        blocks: int = 7,
        extractor_width: int = 32,
        extractor_downs: int = 6,
        style_dim: int = 256,
        noise_dim: int = 32,
        mapper_width: int = 256,
        image_size: int = 256,
    ) -> None:
        super().__init__()
        self.tags = {tag: tuple(attrs) for tag, attrs in tags.items()}
        self.edits = tuple(a for attrs in self.tags.values() for a in attrs if a is not None)
        self.image_size, self.noise_dim = image_size, noise_dim
        widths = [width * 2**i for i in range(downs + 1)]
        down = (DownBlock(a, b) for a, b in pairwise(widths))
        up = (UpBlock(a, b) for a, b in pairwise(widths[::-1]))
        self.encoder = nn.Sequential(nn.Conv2d(3, width, 1), *down)
        self.decoder = nn.Sequential(*up, nn.Conv2d(width, 3, 1))
        self.extractors = Extractors(len(self.tags), extractor_width, extractor_downs, style_dim)
        self.translators = nn.ModuleList(
            Translator(widths[-1], width, blocks, style_dim) for _ in self.tags
        )
        self.mappers = nn.ModuleList(
            Mapper(len(attrs), noise_dim, mapper_width, style_dim) for attrs in self.tags.values()
        )

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return (self.encoder(x),)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        one_hot, style = c[:, : len(self.tags)], c[:, len(self.tags) :]
        tag_of_image = one_hot.argmax(dim=1)
        translated = torch.empty_like(codes[0])
        for tag in tag_of_image.unique().tolist():
            rows = tag_of_image == tag
            translated[rows] = self.translators[tag](codes[0][rows], style[rows])
        return self.decoder(translated)

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        """See `DeepfakeModel.conditions`; the style is mapped from one fixed noise per edit."""
        self._check_edit(edit)
        tag, attrs = next((i, a) for i, a in enumerate(self.tags.values()) if edit in a)
        generator = torch.Generator().manual_seed(zlib.crc32(edit.encode()))
        noise = torch.randn(1, self.noise_dim, generator=generator)
        weight = self.mappers[tag].pre_model[0].weight
        style = self.mappers[tag](noise.to(weight), attrs.index(edit))
        return self.condition(tag, style.expand(len(attributes), -1))

    def condition(self, tag: int | Tensor, style: Tensor) -> Tensor:
        """Condition from a tag's index (one, or one per face) and styles, [B, style_dim]."""
        index = torch.as_tensor(tag, device=style.device).expand(len(style))
        return torch.cat([F.one_hot(index, len(self.tags)).to(style.dtype), style], dim=1)

    def keep_condition(self, x: Tensor, attributes: Tensor) -> Tensor:
        """See `DeepfakeModel.keep_condition`: tags take turns, in the style of the face itself."""
        rows = torch.arange(len(x), device=x.device)
        tags = rows % len(self.tags)
        return self.condition(tags, self.extractors(x)[rows, tags])

    def target_attributes(self, attributes: Tensor, edit: str) -> Tensor:
        """An edit of HiSD always sets its attribute, it never flips."""
        absent = attributes.clone()
        absent[:, attribute_index(edit)] = 0
        return edit_attributes(absent, edit)
