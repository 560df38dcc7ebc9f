"""HiSD (Li et al., CVPR 2021): hierarchical style disentanglement.

A face is encoded once; a translator per tag (bangs, glasses, hair colour) moves the code in the
direction of a style; the style comes from noise or from a reference photo. Built from the paper
and from published shapes; state-dict keys and shapes equal the public checkpoint's.
"""

import zlib
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.errors import BadInput
from aef_core.models.base import HAIR_COLOURS, DeepfakeModel, attribute_index, edit_attributes
from aef_core.models.hisd_blocks import (
    AdaptiveMiddleBlock,
    DownBlock,
    LinearBlock,
    UpBlock,
)

OFFICIAL_TAGS = {
    "Bangs": ("Bangs", None),
    "Eyeglasses": ("Eyeglasses", None),
    "HairColor": HAIR_COLOURS,
}
"""Tag -> its attributes in the checkpoint's order; None stands for "without"."""


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
            nn.Conv2d(channels, width, 1), *(AdaptiveMiddleBlock(width) for _ in range(blocks))
        )
        self.style_to_params = nn.Linear(style_dim, blocks * AdaptiveMiddleBlock.params(width))
        self.features = nn.Sequential(nn.Conv2d(width, channels, 1))
        self.masks = nn.Sequential(nn.Conv2d(width, channels, 1))

    def forward(self, code: Tensor, style: Tensor) -> Tensor:
        blocks = self.model[1:]
        x = self.model[0](code)
        for block, params in zip(
            blocks, self.style_to_params(style).chunk(len(blocks), dim=1), strict=True
        ):
            x = block(x, params)
        mask = self.masks(x).sigmoid()
        return self.features(x) * mask + code * (1 - mask)


class Mapper(nn.Module):
    """From noise to a style of one attribute of one tag."""

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


class HiSD(DeepfakeModel):
    """HiSD's generator.

    Parameters
    ----------
    tags : dict of str to tuple
        Tag -> its attributes, None for "without" (official: bangs, glasses, hair colour).
    width : int
        Channels after the first convolution and inside the translators (64 officially).
    downs : int
        Halvings before the translators (2 officially, at 128 pixels).
    blocks : int
        Middle blocks of a translator (7 officially).
    extractor_width, extractor_downs : int
        Style extractor: first channels (32 officially) and halvings (6 officially).
    style_dim, noise_dim, mapper_width : int
        256, 32 and 256 officially.
    image_size : int
        Pixels; a multiple of 2**downs.

    Notes
    -----
    The condition is `[one-hot tag, style]`, so images of one batch may be edited in different ways.
    """

    name = "HiSD"

    def __init__(
        self,
        tags: dict[str, tuple[str | None, ...]] | None = None,
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
        self.tags = {tag: tuple(attrs) for tag, attrs in (tags or OFFICIAL_TAGS).items()}
        self.edits = tuple(a for attrs in self.tags.values() for a in attrs if a is not None)
        self.image_size, self.noise_dim = image_size, noise_dim
        widths = [width * 2**i for i in range(downs + 1)]
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 1), *(DownBlock(a, b) for a, b in pairwise(widths))
        )
        self.decoder = nn.Sequential(
            *(UpBlock(a, b) for a, b in pairwise(widths[::-1])), nn.Conv2d(width, 3, 1)
        )
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

    def conditions(
        self,
        attributes: Tensor,
        edit: str,
        reference: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """See `DeepfakeModel.conditions`.

        The style is extracted from `reference` (shape [1 or B, 3, H, W]) if given, as the attack
        literature does, else mapped from `noise` (shape [1 or B, noise_dim]; one fixed draw for
        each edit by default, so that an edit is always the same edit).
        """
        self._check_edit(edit)
        tag, position = self._locate(edit)
        if reference is not None:
            style = self.extractors(reference)[:, tag]
        else:
            weight = self.mappers[tag].pre_model[0].weight
            noise = self._fixed_noise(edit).to(weight) if noise is None else noise
            style = self.mappers[tag](noise, position)
        return self.condition(tag, style.expand(len(attributes), -1))

    def condition(self, tag: int, style: Tensor) -> Tensor:
        """Condition from a tag's index and styles, shape [B, style_dim]."""
        index = torch.full((len(style),), tag, device=style.device)
        return torch.cat([F.one_hot(index, len(self.tags)).to(style.dtype), style], dim=1)

    def keep_condition(self, x: Tensor, attributes: Tensor) -> Tensor:
        """See `DeepfakeModel.keep_condition`: tags take turns, in the style of the face itself."""
        rows = torch.arange(len(x), device=x.device)
        tags = rows % len(self.tags)
        style = self.extractors(x)[rows, tags]
        return torch.cat([F.one_hot(tags, len(self.tags)).to(style.dtype), style], dim=1)

    def target_attributes(self, attributes: Tensor, edit: str) -> Tensor:
        """An edit of HiSD always sets its attribute, it never flips."""
        absent = attributes.clone()
        absent[:, attribute_index(edit)] = 0
        return edit_attributes(absent, edit)

    def _locate(self, edit: str) -> tuple[int, int]:
        for tag, attrs in enumerate(self.tags.values()):
            if edit in attrs:
                return tag, attrs.index(edit)
        raise BadInput(f"{self.name} has no edit {edit!r}")

    def _fixed_noise(self, edit: str) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(edit.encode()))
        return torch.randn(1, self.noise_dim, generator=generator)
