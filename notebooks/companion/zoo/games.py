"""What each generator is trained for: its own published losses, one class a generator.

The adversarial and attribute terms come from the critic and are added by the trainer; a game draws
batches, forges, and returns the terms that are the generator's own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.models import AttentionGAN, AttGAN
from aef_core.models.attgan import CONDITION_SCALE, EDIT_INTENSITY
from aef_core.models.base import columns
from aef_core.models.stargan import LabelPlaneModel
from companion.zoo.photos import Photos

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of a generator's loss. Not every generator has every term."""

    adversarial: float = 0.5
    attribute: float = 1.0
    cycle: float = 10.0  # L1 of the way there and back (StarGAN's, AttentionGAN's, HiSD's)
    reconstruction: float = 0.0  # L1 of unedited copies (AttGAN's, HiSD's)
    style: float = 1.0  # L1 of HiSD's style, read back from the forgery
    openness: float = 0.0  # keeps AttentionGAN's attention from closing for good


@dataclass
class Batch:
    """Faces to forge, what is asked for, and real faces to compare with.

    Attributes
    ----------
    x, real : Tensor, shape [B, 3, S, S], in [-1, 1]
    own, target, real_labels : Tensor, float, shape [B, A], values 0 or 1
        Attributes of `x`, those asked for, and those of `real`.
    kind : int
        The kind of face asked for, see `Critic.realness`.
    judged : list of int, optional
        Columns of `target` that the attribute term asks for, all by default.
    """

    x: Tensor
    own: Tensor
    target: Tensor
    real: Tensor
    real_labels: Tensor
    kind: int = 0
    judged: list[int] | None = None


class LabelGame:
    """Generators that are told attributes: StarGAN, and what the two others share with it.

    Half of a batch shows rare attributes more often (glasses are on 6 % of faces); half asks for
    another face's attributes, as published, the other half for a single edit, as in use.
    """

    kinds = 1

    def __init__(self, model: LabelPlaneModel | AttGAN, photos: Photos) -> None:
        self.model, self.photos = model, photos
        self.names = model.attributes
        self.labels = columns(photos.attributes, self.names)
        rarity = (self.labels / self.labels.mean(0)).sum(1)
        self.rare_first = rarity / rarity.sum()
        targets = [model.target_attributes(photos.attributes, edit) for edit in model.edits]
        self.edited = torch.stack([columns(target, self.names) for target in targets])

    def draw(self, n: int) -> Batch:
        device, half = self.labels.device, n // 2
        anyone = torch.randint(len(self.photos), (n - half,), device=device)
        rows = torch.cat([torch.multinomial(self.rare_first, half), anyone])
        x, own = mirrored(self.photos.faces(rows)), self.labels[rows]
        target = self.labels[torch.multinomial(self.rare_first, n)]
        single = rows[::2]
        edits = torch.randint(len(self.edited), (len(single),), device=device)
        target[::2] = self.edited[edits, single]
        return Batch(x, own, target, real=x, real_labels=own)

    def edit(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.model(x, labels)

    def ask(self, attributes: Tensor, edit: str) -> Tensor:
        """Conditions that ask for an edit of faces with these attributes, as in use."""
        return self.model.conditions(attributes, edit)

    def copy_loss(self, batch: Batch) -> Tensor:
        """L1 of the copy when nothing is asked for: a head start before the critic enters."""
        return F.l1_loss(self.edit(batch.x, batch.own), batch.x)

    def forge(self, batch: Batch, weights: Weights) -> tuple[Tensor, Terms]:
        fake = self.edit(batch.x, batch.target)
        terms = {"cycle": weights.cycle * F.l1_loss(self.edit(fake, batch.own), batch.x)}
        if weights.reconstruction:
            terms["reconstruction"] = weights.reconstruction * self.copy_loss(batch)
        return fake, terms


class AttentionGame(LabelGame):
    """AttentionGAN: as StarGAN, and a term against an attention that closes (GANimation, eq. 4)."""

    model: AttentionGAN

    def copy_loss(self, batch: Batch) -> Tensor:
        """The *content* copies; copying the result would close the attention for good."""
        content, _ = self._parts(batch.x, batch.own)
        return F.l1_loss(content, batch.x)

    def _parts(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.content_and_attention(self.model.encode(x, labels))

    def forge(self, batch: Batch, weights: Weights) -> tuple[Tensor, Terms]:
        content, attention = self._parts(batch.x, batch.target)
        fake = content * attention + batch.x * (1 - attention)
        back = self.edit(fake, batch.own)
        closed = (1 - attention).square().mean()
        terms = {
            "cycle": weights.cycle * F.l1_loss(back, batch.x),
            "openness": weights.openness * closed,
        }
        if weights.reconstruction:
            copy = self.edit(batch.x, batch.own)
            terms["reconstruction"] = weights.reconstruction * F.l1_loss(copy, batch.x)
        return fake, terms


class AttGANGame(LabelGame):
    """AttGAN: reconstruction, and a cycle where a recipe asks for one (He et al. have none)."""

    model: AttGAN

    def edit(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.model(x, self._scaled(labels))

    def _scaled(self, labels: Tensor) -> Tensor:
        return (2 * labels - 1) * CONDITION_SCALE

    def ask(self, attributes: Tensor, edit: str) -> Tensor:
        """Every second face as strongly as in training, the others twice, as in use."""
        c = self.model.conditions(attributes, edit)
        c[::2, self.names.index(edit)] /= EDIT_INTENSITY
        return c

    def forge(self, batch: Batch, weights: Weights) -> tuple[Tensor, Terms]:
        codes = self.model.encode(batch.x, batch.target)
        fake = self.model.decode(codes, batch.x, self._scaled(batch.target))
        copy = self.model.decode(codes, batch.x, self._scaled(batch.own))
        terms = {"reconstruction": weights.reconstruction * F.l1_loss(copy, batch.x)}
        if weights.cycle:
            back = self.edit(fake, batch.own)
            terms["cycle"] = weights.cycle * F.l1_loss(back, batch.x)
        return fake, terms


def mirrored(x: Tensor) -> Tensor:
    """Every second face mirrored, at random."""
    flip = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)
