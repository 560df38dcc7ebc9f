"""What every face-editing generator has in common.

It is split where the interruption losses look inside it: `encode` runs up to the feature that the
papers tap, `decode` from there to the edited image.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aef_core.errors import BadInput

ATTRIBUTES = (
    "Bald", "Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Bushy_Eyebrows", "Eyeglasses",
    "Male", "Mouth_Slightly_Open", "Mustache", "No_Beard", "Pale_Skin", "Young",
)  # fmt: skip
"""The CelebA attributes that every face carries, in AttGAN's official order."""

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair")

# Setting one clears the others of its group (AttGAN's rule).
_EXCLUSIVE = (HAIR_COLOURS, ("Bald", "Bangs"), ("Mustache", "No_Beard"))


def attribute_index(name: str) -> int:
    """Column of an attribute in every `[B, 13]` attribute tensor; ValueError if there is none."""
    if name not in ATTRIBUTES:
        raise BadInput(f"unknown attribute {name!r}; known: {', '.join(ATTRIBUTES)}")
    return ATTRIBUTES.index(name)


def columns(attributes: Tensor, names: tuple[str, ...]) -> Tensor:
    """The named columns of a [B, 13] attribute tensor, as float, shape [B, len(names)]."""
    return attributes[:, [attribute_index(name) for name in names]].to(torch.float32)


def edit_attributes(attributes: Tensor, edit: str) -> Tensor:
    """Attributes of the face an edit asks for, shape [B, 13], values 0 or 1, dtype as given.

    A hair colour is *set* (removing one names no target); anything else is *flipped*. Attributes
    that contradict one that was set are cleared.
    """
    column = attribute_index(edit)
    target = attributes.clone()
    target[:, column] = 1 if edit in HAIR_COLOURS else 1 - attributes[:, column]
    was_set = target[:, column].bool()
    for other in {name for group in _EXCLUSIVE if edit in group for name in group} - {edit}:
        target[was_set, attribute_index(other)] = 0
    return target


def check_size(zoo: Mapping[str, "DeepfakeModel"], images: Tensor) -> None:
    """Raise ValueError for images [..., H, W] of another size than a generator was trained on."""
    for name, model in zoo.items():
        side = getattr(model, "image_size", images.shape[-1])  # the classifiers of 11 have none
        if images.shape[-2:] != (side, side):
            height, width = images.shape[-2:]
            raise BadInput(
                f"images of {width} x {height} pixels, but this {name} was trained on {side}: "
                f"load_faces(..., size={side})"
            )


def fingerprint(model: nn.Module) -> str:
    """Short checksum of a model's weights."""
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


class DeepfakeModel(nn.Module, ABC):
    """A conditional face-editing generator; images are [B, 3, H, W] in [-1, 1].

    Attributes
    ----------
    name : str
        The key in zoo, histories and tables.
    image_size : int
        Height and width of the images it was trained on, in pixels.
    attributes, edits : tuple of str
        Names from `ATTRIBUTES`: what the entries of a condition mean (where they do), in order; and
        the edits it offers.
    """

    name: str
    image_size: int
    attributes: tuple[str, ...]
    edits: tuple[str, ...]

    @abstractmethod
    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """From images and conditions to what `decode` needs; the losses tap the first entry."""

    @abstractmethod
    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        """From `encode`'s result to the edited images."""

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        """The condition for an edit, one of `self.edits`, shape [B, condition size], float.

        `attributes`, [B, 13], 0 or 1, are the faces' own. Here a condition is the target's
        attributes as 0 and 1. Raises ValueError if the model does not offer the edit.
        """
        self._check_edit(edit)
        return columns(self.target_attributes(attributes, edit), self.attributes)

    def keep_condition(self, x: Tensor, attributes: Tensor) -> Tensor:
        """The condition that leaves faces x as they are: their own attributes, on x's device."""
        return columns(attributes, self.attributes).to(x)

    def target_attributes(self, attributes: Tensor, edit: str) -> Tensor:
        """Attributes the edited faces should have, shape [B, 13]."""
        return edit_attributes(attributes, edit)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """The edited images."""
        return self.decode(self.encode(x, c), x, c)

    def forward_with_feature(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The edited images and the tapped feature, in one pass."""
        codes = self.encode(x, c)
        return self.decode(codes, x, c), codes[0]

    def _check_edit(self, edit: str) -> None:
        if edit not in self.edits:
            raise BadInput(f"{self.name} has no edit {edit!r}; it has {', '.join(self.edits)}")
