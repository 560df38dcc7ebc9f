"""What HiSD is trained for: its own published losses, tag by tag."""

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.models import HiSD
from aef_core.models.base import attribute_index, columns
from companion.training.networks import TagCritic, attribute_loss, hinge_critic
from companion.training.recipes import Losses, Recipe


class HiSDRecipe(Recipe):
    """HiSD: per-attribute adversarial + style + cycle-consistency; reconstruction on request.

    The cycle weighs 10 instead of the published 1, since one critic step of a small critic moves
    the game faster than the published schedule; the critic's attribute head is added. The two
    published reconstructions of unedited faces weigh `phase.identity`.
    """

    model: HiSD
    critic: TagCritic

    def start(self, labels: Tensor) -> None:
        """Remember which rows show which attribute: HiSD draws its batches by attribute."""
        self._pools: list[list[Tensor]] = []
        for attrs in self.model.tags.values():
            named = columns(labels, tuple(a for a in attrs if a)).bool()
            pools = iter(named.T)
            self._pools.append(
                [(next(pools) if a else ~named.any(dim=1)).nonzero().flatten() for a in attrs]
            )

    def critic_attributes(self, attributes: Tensor) -> Tensor:
        return attributes.float()

    def copy_loss(self, x: Tensor, attributes: Tensor) -> Tensor:
        code = self.model.encoder(x)
        tag = int(torch.randint(len(self.model.tags), ()))
        styled = self.model.translators[tag](code, self.model.extractors(x)[:, tag])
        return F.l1_loss(self.model.decoder(code), x) + F.l1_loss(self.model.decoder(styled), x)

    def sample(self, labels: Tensor, n: int) -> Tensor:
        """First half: faces with the source attribute; second half: with the target attribute."""
        sizes = [len(pools) for pools in self._pools]
        # a tag of three attributes has more pairs to learn than a tag of two
        self._tag = int(torch.multinomial(torch.tensor(sizes, dtype=torch.float), 1))
        order = torch.randperm(sizes[self._tag])
        self._source, self._target = order[:2].tolist()
        pools = self._pools[self._tag]
        draws = [
            pools[a][torch.randint(len(pools[a]), (n // 2,))] for a in (self._source, self._target)
        ]
        return torch.cat(draws)

    def _tag_loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The edited tag's own attributes, which would drown among the thirteen."""
        names = [a for a in list(self.model.tags.values())[self._tag] if a]
        own = [attribute_index(name) for name in names]
        return attribute_loss(logits[:, own], wanted[:, own])

    def _style(self, n: int, like: Tensor) -> Tensor:
        noise = torch.randn(n, self.model.noise_dim).to(like)
        return self.model.mappers[self._tag](noise, self._target)

    def _translate(self, code: Tensor, style: Tensor) -> Tensor:
        return self.model.decoder(self.model.translators[self._tag](code, style))

    def critic_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        x, real = x.chunk(2)
        with torch.no_grad():
            style = self._style(len(x), x)
            fake = self._translate(self.model.encoder(x), style)
            real_style = self.model.extractors(real)[:, self._tag]
        asked = self._tag, self._target
        real_patches, real_logits = self.critic.judge(self.critic_input(real), real_style, *asked)
        fake_patches, _ = self.critic.judge(self.critic_input(fake), style, *asked)
        own = attributes.chunk(2)[1].float()
        return {
            "critic": hinge_critic(real_patches, fake_patches),
            "critic_attribute": attribute_loss(real_logits, own),
        }

    def generator_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        x, _ = x.chunk(2)
        model, tag = self.model, self._tag
        code, own_style = model.encoder(x), model.extractors(x)[:, tag]
        style = self._style(len(x), x)
        fake = self._translate(code, style)
        patches, logits = self.critic.judge(self.critic_input(fake), style, tag, self._target)
        back = self._translate(model.encoder(fake), own_style)
        edit = list(model.tags.values())[tag][self._target]
        source = list(model.tags.values())[tag][self._source]
        wanted = attributes.chunk(2)[0].float().clone()
        for name, value in ((source, 0.0), (edit, 1.0)):
            if name:
                wanted[:, attribute_index(name)] = value
        asked = attribute_loss(logits, wanted) + 2 * self._tag_loss(logits, wanted)
        losses = {
            "adversarial": -self.phase.adversarial * patches.mean(),
            "attribute": self.phase.attribute * asked,
            "style": F.l1_loss(model.extractors(fake)[:, tag], style),
            "cycle": self.phase.cycle * F.l1_loss(back, x),
        }
        if self.phase.identity:
            unedited = (model.decoder(code), self._translate(code, own_style))
            off = sum(F.l1_loss(image, x) for image in unedited)
            losses["identity"] = self.phase.identity * off
        return losses
