"""What HiSD is trained for: its own published losses, tag by tag."""

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.models import HiSD
from aef_core.models.base import columns
from companion.zoo.games import (
    AttentionGame,
    AttGANGame,
    Batch,
    LabelGame,
    Terms,
    Weights,
    mirrored,
)
from companion.zoo.photos import Photos


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

    def ask(self, attributes: Tensor, edit: str) -> Tensor:
        """Conditions that ask for an edit: every second style from noise, the others from faces."""
        tag = next(i for i, members in enumerate(self.tags) if edit in members)
        wanted, n, device = self.tags[tag].index(edit), len(attributes), attributes.device
        noise = torch.randn(n, self.model.noise_dim, device=device)
        styles = self.model.mappers[tag](noise, wanted)
        pool = self._pools[tag][wanted]
        rows = pool[torch.randint(len(pool), (n // 2,), device=device)]
        styles[1::2] = self.model.extractors(self.photos.faces(rows))[:, tag].to(styles)
        return self.model.condition(tag, styles)

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
