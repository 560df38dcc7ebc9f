"""What each generator is trained for: its own published losses.

Common departures, for a CPU's sake: a hinge loss with spectral normalisation instead of WGAN-GP
with five critic steps, and one critic step per generator step. The cycle and reconstruction losses,
which decide how fragile a generator becomes, are the published ones.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.models import AttentionGAN, AttGAN
from aef_core.models.attgan import CONDITION_SCALE
from aef_core.models.base import columns
from aef_core.models.stargan import LabelPlaneModel
from companion.training.networks import Critic, attribute_loss, hinge_critic, jittered

Losses = dict[str, Tensor]
RECONSTRUCTION = 100.0  # weight of AttGAN's reconstruction, in every phase


class Phase(NamedTuple):
    """From iteration `start` on: the learning rate, and weights of the generator's loss terms.

    The published weights are adversarial 1, attribute 1 and cycle 10 (HiSD: 1).
    """

    start: int
    rate: float = 3e-4
    cycle: float = 10.0
    adversarial: float = 1.0
    attribute: float = 1.0
    critic_pace: float = 1.0  # learning rate over the generator's; spectral norms make it slow
    identity: float = 0.0  # of unedited images; without a cycle it lets edits grow bold first
    openness: float = 0.0  # keeps AttentionGAN's attention from closing for good
    jitter: bool = False  # the critic sees shifted, dimmed, blurred faces, see `networks.jittered`


FIRST = Phase(0)
CONSTANT_RATE = 1 - 1e-9  # `decay_from` of a run whose learning rate never falls


@dataclass(frozen=True)
class TrainingConfig:
    """How one embedded generator is trained; stored in its file's metadata."""

    model: str
    settings: dict = field(default_factory=dict)  # arguments of the architecture
    iterations: int = 3000
    batch: int = 8
    phases: tuple[Phase, ...] = (FIRST,)
    decay_from: float = 0.92  # share of the run after which the learning rate falls to zero
    warmup: int = 500  # critic learns attributes, generator learns to copy, before they meet
    critic_width: int = 32
    average: float = 0.995  # decay of the moving average of the weights
    ship_average: bool = False  # the moving average of the weights, which edits more surely
    grown: bool = False  # starts from the same generator of the 64-pixel zoo, see `zoo128.grown`
    precision: str = "float32"  # or "bf16": autocast, 1.4 to 1.8 times as fast on AVX-512 BF16
    seed: int = 20260501


@dataclass
class Recipe:
    """A generator, its critic, and what both minimise.

    `critic_losses` and `generator_losses` return named, weighted terms; their sums are minimised.
    """

    model: nn.Module
    critic: Critic
    phase: Phase = FIRST

    def attribute_warmup(self, x: Tensor, attributes: Tensor) -> Tensor:
        """Loss of the critic's attribute head on real faces, before the game starts."""
        logits = self.critic.attributes(self.critic.trunk(x)).flatten(1)
        return attribute_loss(logits, self.critic_attributes(attributes))

    def copy_loss(self, x: Tensor, attributes: Tensor) -> Tensor:
        """L1 distance to the image when nothing is to be edited: the generator's head start."""
        own = self.critic_attributes(attributes)
        return F.l1_loss(self.model(x, self.scaled(own)), x)

    def critic_input(self, x: Tensor) -> Tensor:
        """Faces as the critic is shown them."""
        return jittered(x) if self.phase.jitter else x

    def judge(self, x: Tensor, fake: Tensor, attributes: Tensor) -> Losses:
        """The critic's terms: real against fake, and the attributes of the real."""
        real_patches, logits = self.critic(self.critic_input(x))
        fake_patches, _ = self.critic(self.critic_input(fake))
        return {
            "critic": hinge_critic(real_patches, fake_patches),
            "critic_attribute": attribute_loss(logits, self.critic_attributes(attributes)),
        }

    def scaled(self, labels: Tensor) -> Tensor:
        """From labels in {0, 1} to the model's condition."""
        return labels

    def start(self, labels: Tensor) -> None:
        """Look at the training set's labels once, before the first `sample`."""

    def critic_attributes(self, attributes: Tensor) -> Tensor:
        """The attributes the critic learns, of [B, 13] labels."""
        return columns(attributes, self.model.attributes)

    def sample(self, labels: Tensor, n: int) -> Tensor:
        """Rows of the training set for one iteration, shape [n]."""
        return torch.randint(len(labels), (n,))


class StarGANRecipe(Recipe):
    """StarGAN and AttentionGAN: adversarial + attribute + lambda * cycle (Choi et al., eq. 1-6).

    Half the batch asks for another face's attributes, as published: such bold changes are what
    makes the generator hide the original in faint patterns. The other half asks for a single edit
    (one hair colour, gender or age), as the model is used.
    """

    model: LabelPlaneModel

    def _targets(self, attributes: Tensor) -> Tensor:
        """Target conditions, one row an image."""
        edits = self.model.edits
        target = columns(attributes[torch.randperm(len(attributes))], self.model.attributes)
        for i in range(0, len(attributes), 2):
            edit = edits[int(torch.randint(len(edits), ()))]
            target[i] = self.model.conditions(attributes[i : i + 1], edit)[0]
        return target

    def critic_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        with torch.no_grad():
            fake = self.model(x, self._targets(attributes).to(x))
        return self.judge(x, fake, attributes)

    def generator_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        source = columns(attributes, self.model.attributes)
        target = self._targets(attributes).to(x)
        fake, losses = self._edit(x, target)
        patches, logits = self.critic(self.critic_input(fake))
        losses |= {
            "adversarial": -self.phase.adversarial * patches.mean(),
            "attribute": self.phase.attribute * attribute_loss(logits, target),
        }
        if self.phase.cycle:
            losses["cycle"] = self.phase.cycle * F.l1_loss(self.model(fake, source), x)
        if self.phase.identity:
            losses["identity"] = self.phase.identity * F.l1_loss(self.model(x, source), x)
        return losses

    def _edit(self, x: Tensor, target: Tensor) -> tuple[Tensor, Losses]:
        """The edited images, and loss terms on how they came about."""
        return self.model(x, target), {}


class AttentionGANRecipe(StarGANRecipe):
    """As StarGAN, plus a term against an attention that closes, and another warm-up.

    Copying is the cheapest way to satisfy the cycle, so the attention saturates at 0 and its
    sigmoid never lets it back. GANimation (Pumarola et al., eq. 4) meets this with a squared
    penalty on the mask, AttentionGAN with its total variation; the former acts where it is flat.
    """

    model: AttentionGAN

    def copy_loss(self, x: Tensor, attributes: Tensor) -> Tensor:
        """The *content* learns to copy; copying the result would close the attention for good."""
        codes = self.model.encode(x, self.critic_attributes(attributes))
        content, _ = self.model.content_and_attention(codes)
        return F.l1_loss(content, x)

    def _edit(self, x: Tensor, target: Tensor) -> tuple[Tensor, Losses]:
        content, attention = self.model.content_and_attention(self.model.encode(x, target))
        fake = content * attention + x * (1 - attention)
        closed = (1 - attention).square().mean()
        return fake, {"openness": self.phase.openness * closed}


class AttGANRecipe(Recipe):
    """AttGAN: adversarial + 10 * attribute + 100 * reconstruction (He et al., eq. 13); no cycle."""

    model: AttGAN

    def scaled(self, labels: Tensor) -> Tensor:
        return (2 * labels - 1) * CONDITION_SCALE

    def _shuffled(self, attributes: Tensor) -> Tensor:
        """Half the batch asks for another face's attributes, half for a single edit."""
        target = columns(attributes[torch.randperm(len(attributes))], self.model.attributes)
        for i in range(0, len(attributes), 2):
            edit = self.model.edits[int(torch.randint(len(self.model.edits), ()))]
            wanted = self.model.target_attributes(attributes[i : i + 1], edit)
            target[i] = columns(wanted, self.model.attributes)[0]
        return target

    def critic_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        with torch.no_grad():
            fake = self.model(x, self.scaled(self._shuffled(attributes)))
        return self.judge(x, fake, attributes)

    def generator_losses(self, x: Tensor, attributes: Tensor) -> Losses:
        own, target = columns(attributes, self.model.attributes), self._shuffled(attributes)
        codes = self.model.encode(x, target)
        fake = self.model.decode(codes, x, self.scaled(target))
        same = self.model.decode(codes, x, self.scaled(own))
        patches, logits = self.critic(self.critic_input(fake))
        attributes_lost = attribute_loss(logits, target) / len(self.model.attributes)
        return {
            "adversarial": -self.phase.adversarial * patches.mean(),
            "attribute": 10 * self.phase.attribute * attributes_lost,
            "reconstruction": RECONSTRUCTION * F.l1_loss(same, x),
            **self._more_losses(x, fake, own),
        }

    def _more_losses(self, x: Tensor, fake: Tensor, own: Tensor) -> Losses:
        """Terms beyond the published ones; none here (`fragility` adds a cycle)."""
        return {}
