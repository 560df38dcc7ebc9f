"""One generator in training against the critic on frozen features; CUDA or CPU.

Every draw comes from (seed, iteration), so a resumed run does what a straight one does.
"""

import time
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import trange

from aef_core.atomic import replacement
from aef_core.models import ARCHITECTURES
from companion.zoo.critic import Critic, FrozenFeatures, attribute_loss, augment, hinge
from companion.zoo.games import Batch
from companion.zoo.photos import Photos
from companion.zoo.recipes import Recipe
from companion.zoo.styles import GAMES


class Training:
    """A generator, its critic and their optimizers: everything a checkpoint holds.

    Parameters
    ----------
    recipe : Recipe
    photos : Photos
        Of the training split.
    features : FrozenFeatures
    """

    def __init__(self, recipe: Recipe, photos: Photos, features: FrozenFeatures) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.features = recipe, features
        self.device = next(features.parameters()).device
        self.model = ARCHITECTURES[recipe.model](**recipe.settings).to(self.device).train()
        self.game = GAMES[recipe.model](self.model, photos.to(self.device))
        self.critic = Critic(len(self.game.names), self.game.kinds, features.size)
        self.critic.to(self.device, memory_format=torch.channels_last)
        self.average = deepcopy(self.model)
        gan = partial(torch.optim.Adam, betas=(0.0, 0.99), fused=True)
        heads, attributes = self.critic.heads, self.critic.attributes
        self.optimizers = {
            "model": gan(self.model.parameters(), recipe.rate),
            "heads": gan(heads.parameters(), recipe.critic_rate),
            "attributes": torch.optim.Adam(
                attributes.parameters(), recipe.attribute_rate, fused=True
            ),
        }
        self._rates = {name: o.param_groups[0]["lr"] for name, o in self.optimizers.items()}
        self.iteration = self.images = 0
        self.half = False  # bfloat16 convolutions, where they pay

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def warm_up(self) -> None:
        """The attribute head learns on real faces; the generator copies, told what it sees.

        Copying whatever is asked for would teach it not to listen.
        """
        for i in trange(self.recipe.warmup, desc="attributes", mininterval=20):
            batch = self._draw(-1 - i, 3 * self.recipe.batch)
            with self.autocast():
                raw, _ = self.features(augment(batch.real))
                loss = attribute_loss(self.critic.attributes(raw), batch.real_labels)
            self._descend(loss, "attributes")
        copier = torch.optim.Adam(self.model.parameters(), 1e-3)
        for i in trange(self.recipe.copies, desc="copies", mininterval=20):
            batch = self._draw(-100_000 - i, self.recipe.batch)
            with self.autocast():
                loss = self.game.copy_loss(batch)
            copier.zero_grad(set_to_none=True)
            loss.backward()
            copier.step()
        self.average.load_state_dict(self.model.state_dict())

    def step(self) -> dict[str, Tensor]:
        """One step of the generator and one of its critic; returns the terms, weighted."""
        recipe, at = self.recipe, self.iteration
        self._set_rates()
        weights = recipe.phases[max(start for start in recipe.phases if start <= at)]
        batch = self._draw(at, recipe.batch)
        self.critic.requires_grad_(False)
        with self.autocast():
            fake, terms = self.game.forge(batch, weights)
            raw, mixed = self.features(augment(fake))
            realness = self.critic.realness(mixed, batch.kind)
            judged = slice(None) if batch.judged is None else batch.judged
            logits = self.critic.attributes(raw)[:, judged]
            asked = attribute_loss(logits, batch.target[:, judged])
            terms["adversarial"] = (
                -weights.adversarial * torch.stack([r.mean() for r in realness]).mean()
            )
            terms["attribute"] = weights.attribute * asked
        self._descend(sum(terms.values()), "model")
        self.critic.requires_grad_(True)
        with self.autocast():
            with torch.no_grad():
                real_raw, real_mixed = self.features(augment(batch.real))
            # the forgery's features are those the generator's step has computed
            fake_mixed = [f.detach() for f in mixed]
            terms["critic"] = hinge(
                self.critic.realness(real_mixed, batch.kind),
                self.critic.realness(fake_mixed, batch.kind),
            )
            terms["critic_attribute"] = attribute_loss(
                self.critic.attributes(real_raw), batch.real_labels
            )
        # a critic that is too far ahead teaches nothing: it waits
        waits = terms["critic"].detach() < recipe.critic_floor
        learnt = torch.where(waits, 0.0, terms["critic"]) + terms["critic_attribute"]
        self._descend(learnt, "heads", "attributes")
        follow(self.average, self.model, at, recipe.average)
        self.iteration += 1
        self.images += recipe.batch
        return {name: term.detach() for name, term in terms.items()}

    def _draw(self, at: int, n: int) -> Batch:
        torch.manual_seed(self.recipe.seed + at)
        return self.game.draw(n)

    def _descend(self, loss: Tensor, *names: str) -> None:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            self.optimizers[name].step()

    def _set_rates(self) -> None:
        left = 1 - self.iteration / self.recipe.iterations
        factor = max(0.05, min(1.0, left / (1 - self.recipe.decay_from)))
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = factor * self._rates[name]

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        networks = {"model": self.model, "critic": self.critic, "average": self.average}
        return networks | {f"{name}_optimizer": o for name, o in self.optimizers.items()}

    def save(self, path: Path) -> None:
        """Atomic: a killed run leaves the previous checkpoint whole."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with replacement(path) as temporary:
            torch.save(dict(state, iteration=self.iteration, images=self.images), temporary)

    def load(self, path: Path) -> None:
        stored = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(stored[name])
        self.iteration, self.images = stored["iteration"], stored["images"]

    def choose_execution(self, steps: int = 4) -> None:
        """Precision and memory layout of the generator by which a step is fastest here.

        Nothing that the trial steps learn is kept.
        """
        before, seconds = {k: deepcopy(p.state_dict()) for k, p in self._parts().items()}, {}
        for half, layout in product((False, True), (torch.contiguous_format, torch.channels_last)):
            self.half = half
            self.model.to(memory_format=layout)
            self.step()
            start = time.perf_counter()
            for _ in range(steps):
                terms = self.step()
            terms["critic"].item()  # a GPU has not finished before
            seconds[half, layout] = (time.perf_counter() - start) / steps
        self.half, layout = fastest = min(seconds, key=seconds.get)
        for name, part in self._parts().items():
            part.load_state_dict(before[name])
        self.model.to(memory_format=layout)
        self.iteration = self.images = 0
        took, worst = seconds[fastest], max(seconds.values())
        print(f"bfloat16 {self.half}, {layout}: {took:.3f} s a step (at worst {worst:.3f})")


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, most: float = 0.998) -> None:
    """Move averaged weights towards a model's, less and less, to a decay of `most` a step.

    Buffers are copied.
    """
    decay = min(most, 1 - 1 / (step / 4 + 2))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for kept, now in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(now)
