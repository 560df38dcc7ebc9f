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

from aef_core.models.base import HAIR_COLOURS, DeepfakeModel, attribute_index, edit_attributes
from aef_core.models.hisd_blocks import DownBlock, Extractors, Mapper, Translator, UpBlock

OFFICIAL_TAGS = {
    "Bangs": ("Bangs", None),
    "Eyeglasses": ("Eyeglasses", None),
    "HairColor": HAIR_COLOURS,
}
"""Tag -> its attributes in the checkpoint's order; None stands for "without"."""


class HiSD(DeepfakeModel):
    """HiSD's generator; all defaults are the official ones.

    A condition is `[one-hot tag, style]`, so images of one batch may be edited in different ways.

    Parameters
    ----------
    tags : dict of str to tuple
        Tag -> its attributes, None for "without".
    width : int
        Channels after the first convolution and inside the translators.
    downs, blocks : int
        Halvings before the translators (2 at 128 pixels), and middle blocks of each.
    extractor_width, extractor_downs : int
        Style extractor: first channels and halvings.
    style_dim, noise_dim, mapper_width : int
        Numbers in a style, in the noise it is mapped from, and in the layers between.
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

    def conditions(self, attributes: Tensor, edit: str, reference: Tensor | None = None) -> Tensor:
        """See `DeepfakeModel.conditions`.

        The style is that of `reference` (shape [1 or B, 3, H, W]) if given, as the attack
        literature does, else mapped from one fixed noise: an edit is always the same edit.
        """
        self._check_edit(edit)
        tag, attrs = next((i, a) for i, a in enumerate(self.tags.values()) if edit in a)
        if reference is not None:
            style = self.extractors(reference)[:, tag]
        else:
            generator = torch.Generator().manual_seed(zlib.crc32(edit.encode()))
            noise = torch.randn(1, self.noise_dim, generator=generator)
            weight = self.mappers[tag].pre_model[0].weight
            style = self.mappers[tag](noise.to(weight), attrs.index(edit))
        return self.condition(tag, style.expand(len(attributes), -1))

    def condition(self, tag: int | Tensor, style: Tensor) -> Tensor:
        """Condition from a tag's index, or one a face, and styles, shape [B, style_dim]."""
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
