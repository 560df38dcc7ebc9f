"""What each generator is trained for: its own published losses, one class a generator.

The adversarial and attribute terms come from the critic and are added by the trainer; a game draws
batches, forges, and returns the terms that are the generator's own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.models import AttentionGAN, AttGAN, HiSD
from aef_core.models.attgan import CONDITION_SCALE
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

    def forge(self, batch: Batch, weights: Weights) -> tuple[Tensor, Terms]:
        codes = self.model.encode(batch.x, batch.target)
        fake = self.model.decode(codes, batch.x, self._scaled(batch.target))
        copy = self.model.decode(codes, batch.x, self._scaled(batch.own))
        terms = {"reconstruction": weights.reconstruction * F.l1_loss(copy, batch.x)}
        if weights.cycle:
            back = self.edit(fake, batch.own)
            terms["cycle"] = weights.cycle * F.l1_loss(back, batch.x)
        return fake, terms


class HiSDGame:
    """HiSD: tag by tag, with styles from noise or another face (Li et al., eq. 1-5)."""

    model: HiSD

    def __init__(self, model: HiSD, photos: Photos) -> None:
        self.model, self.photos = model, photos
        self.names = model.edits
        self.labels = columns(photos.attributes, self.names)
        self.tags = list(model.tags.values())
        self.kinds = sum(len(attributes) for attributes in self.tags)
        self._pools = [[self._members(tag, a) for a in tag] for tag in self.tags]
        self._from_noise = True

    def _members(self, tag: tuple[str | None, ...], attribute: str | None) -> Tensor:
        named = [self.names.index(a) for a in tag if a]
        if attribute is None:
            return (self.labels[:, named].sum(1) == 0).nonzero().flatten()
        return self.labels[:, self.names.index(attribute)].nonzero().flatten()

    def draw(self, n: int) -> Batch:
        # a tag of three attributes has more pairs to learn than a tag of two
        sizes = torch.tensor([len(tag) for tag in self.tags], dtype=torch.float)
        tag = int(torch.multinomial(sizes, 1))
        source, wanted = torch.randperm(len(self.tags[tag]))[:2].tolist()
        rows, others = (
            pool[torch.randint(len(pool), (n,), device=pool.device)]
            for pool in (self._pools[tag][source], self._pools[tag][wanted])
        )
        named = [self.names.index(a) for a in self.tags[tag] if a]
        target = self.labels[rows].clone()
        target[:, named] = 0
        if self.tags[tag][wanted]:
            target[:, self.names.index(self.tags[tag][wanted])] = 1
        self._tag, self._wanted = tag, wanted
        self._from_noise = bool(torch.rand(()) < 0.5)
        return Batch(
            mirrored(self.photos.faces(rows)),
            self.labels[rows],
            target,
            real=mirrored(self.photos.faces(others)),
            real_labels=self.labels[others],
            kind=sum(len(t) for t in self.tags[:tag]) + wanted,
            judged=named,
        )

    def _translate(self, code: Tensor, style: Tensor) -> Tensor:
        return self.model.decoder(self.model.translators[self._tag](code, style))

    def _style(self, batch: Batch) -> Tensor:
        if self._from_noise:
            noise = torch.randn(len(batch.x), self.model.noise_dim, device=batch.x.device)
            return self.model.mappers[self._tag](noise, self._wanted)
        return self.model.extractors(batch.real)[:, self._tag]

    def copy_loss(self, batch: Batch) -> Tensor:
        code = self.model.encoder(batch.x)
        styled = self._translate(code, self.model.extractors(batch.x)[:, self._tag])
        return F.l1_loss(self.model.decoder(code), batch.x) + F.l1_loss(styled, batch.x)

    def forge(self, batch: Batch, weights: Weights) -> tuple[Tensor, Terms]:
        model, tag, x = self.model, self._tag, batch.x
        code, own = model.encoder(x), model.extractors(x)[:, tag]
        style = self._style(batch)
        fake = self._translate(code, style)
        copies = F.l1_loss(model.decoder(code), x) + F.l1_loss(self._translate(code, own), x)
        back = self._translate(model.encoder(fake), own)
        return fake, {
            "cycle": weights.cycle * F.l1_loss(back, x),
            "reconstruction": weights.reconstruction * copies,
            "style": weights.style * F.l1_loss(model.extractors(fake)[:, tag], style),
        }


GAMES = {
    "StarGAN": LabelGame,
    "AttentionGAN": AttentionGame,
    "AttGAN": AttGANGame,
    "HiSD": HiSDGame,
}


def mirrored(x: Tensor) -> Tensor:
    """Every second face mirrored, at random."""
    flip = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)
