"""Train one generator of the embedded zoo against the critic on frozen features.

    python -m companion.zoo.train AttGAN --photos FOLDER --out FOLDER

CUDA or CPU. Every draw comes from (seed, iteration), so a resumed run does what a straight one
does. Every checkpoint leaves a picture of held-out faces and a line of measurements.
"""

import json
import time
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from tqdm.auto import trange

from aef_core.atomic import replacement
from aef_core.config import default_device
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.weights import load_weights
from companion.zoo.critic import Backbone, Critic, FrozenFeatures, attribute_loss, augment, hinge
from companion.zoo.games import GAMES, Batch
from companion.zoo.looks import look
from companion.zoo.photos import Photos, load_photos
from companion.zoo.recipes import RECIPES, Recipe


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
        self.game = GAMES[recipe.model](self.model, photos)
        self.critic = Critic(len(self.game.names), self.game.kinds, features.size)
        self.critic.to(self.device, memory_format=torch.channels_last)
        self.average = deepcopy(self.model)
        betas = (0.0, 0.99)
        self.optimizers = {
            "model": torch.optim.Adam(self.model.parameters(), recipe.rate, betas),
            "heads": torch.optim.Adam(self.critic.heads.parameters(), recipe.critic_rate, betas),
            "attributes": torch.optim.Adam(
                self.critic.attributes.parameters(), recipe.attribute_rate
            ),
        }
        self._rates = {name: o.param_groups[0]["lr"] for name, o in self.optimizers.items()}
        self.iteration = 0
        self.half = False  # bfloat16 convolutions, where they pay

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def warm_up(self) -> None:
        """The attribute head learns on real faces; the generator copies, whatever is asked for.

        So weights it starts from keep how to draw a face and forget how they edited it.
        """
        for i in trange(self.recipe.warmup, desc="attributes", mininterval=20):
            batch = self._draw(-1 - i, 3 * self.recipe.batch)
            with self._autocast():
                raw, _ = self.features(augment(batch.real))
                loss = attribute_loss(self.critic.attributes(raw), batch.real_labels)
            self._descend(loss, "attributes")
        copier = torch.optim.Adam(self.model.parameters(), 1e-3)
        for i in trange(self.recipe.copies, desc="copies", mininterval=20):
            batch = self._draw(-100_000 - i, self.recipe.batch)
            with self._autocast():
                loss = self.game.copy_loss(replace(batch, own=batch.target))
            copier.zero_grad(set_to_none=True)
            loss.backward()
            copier.step()
        self.average.load_state_dict(self.model.state_dict())

    def step(self) -> dict[str, float]:
        """One step of the generator and one of its critic; returns the terms, weighted."""
        recipe, at = self.recipe, self.iteration
        self._set_rates()
        weights = recipe.phases[max(start for start in recipe.phases if start <= at)]
        batch = self._draw(at, recipe.batch)
        self.critic.requires_grad_(False)
        with self._autocast():
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
        with self._autocast():
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
        self._descend(terms["critic"] + terms["critic_attribute"], "heads", "attributes")
        self._average(min(recipe.average, 1 - 1 / (at / 4 + 2)))
        self.iteration += 1
        return {name: term.item() for name, term in terms.items()}

    def _draw(self, at: int, n: int) -> Batch:
        torch.manual_seed(self.recipe.seed + at)
        batch = self.game.draw(n)
        tensors = {k: v.to(self.device) for k, v in vars(batch).items() if isinstance(v, Tensor)}
        return replace(batch, **tensors)

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

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        ours, theirs = self.average.state_dict(), self.model.state_dict()
        for name, value in ours.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        networks = {"model": self.model, "critic": self.critic, "average": self.average}
        return networks | {f"{name}_optimizer": o for name, o in self.optimizers.items()}

    def save(self, path: Path) -> None:
        """Atomic: a killed run leaves the previous checkpoint whole."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        with replacement(path) as temporary:
            torch.save(dict(state, iteration=self.iteration, size=self.model.image_size), temporary)

    def load(self, path: Path) -> None:
        stored = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(stored[name])
        self.iteration = stored["iteration"]

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
                self.step()
            seconds[half, layout] = (time.perf_counter() - start) / steps
        self.half, layout = fastest = min(seconds, key=seconds.get)
        for name, part in self._parts().items():
            part.load_state_dict(before[name])
        self.model.to(memory_format=layout)
        self.iteration = 0
        took, worst = seconds[fastest], max(seconds.values())
        print(f"bfloat16 {self.half}, {layout}: {took:.3f} s a step (at worst {worst:.3f})")


def read_average(path: Path) -> DeepfakeModel:
    """The averaged generator of a checkpoint, frozen, in eval mode, on the CPU."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    recipe = RECIPES[path.stem]
    model = ARCHITECTURES[recipe.model](**recipe.settings | {"image_size": stored["size"]})
    model.load_state_dict(stored["average"])
    return model.eval().requires_grad_(False)


def main(
    model: Annotated[str, typer.Argument(help="StarGAN, AttentionGAN, AttGAN or HiSD")],
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    out: Annotated[Path, typer.Option(help="where checkpoints, log and pictures go")],
    size: Annotated[int, typer.Option(help="pixels, 0: the recipe's")] = 0,
    iterations: Annotated[int, typer.Option(help="in all, 0: the recipe's")] = 0,
    minutes: Annotated[float, typer.Option(help="stop after so many, 0: at the end")] = 0,
    every: Annotated[float, typer.Option(help="minutes between checkpoints")] = 10,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    start: Annotated[Path | None, typer.Option(help="safetensors file to start from")] = None,
) -> None:
    """Train one generator, resuming from the checkpoint in `out` if there is one."""
    torch.set_num_threads(threads)
    recipe = RECIPES[model]
    size = size or recipe.settings["image_size"]
    settings = recipe.settings | {"image_size": size}
    recipe = replace(recipe, settings=settings, iterations=iterations or recipe.iterations)
    out.mkdir(parents=True, exist_ok=True)
    features = FrozenFeatures(Backbone()).to(default_device(), memory_format=torch.channels_last)
    training = Training(recipe, load_photos(photos, "train", size), features)
    path = out / f"{model}.ckpt"
    training.choose_execution()
    if path.exists():
        training.load(path)
    else:
        if start is not None:
            load_weights(training.model, start)
        training.warm_up()
    began = last = time.time()
    while training.iteration < recipe.iterations:
        terms = training.step()
        if training.iteration % 50 == 0:
            row = {"iteration": training.iteration, "seconds": round(time.time() - began)}
            row |= {name: round(value, 4) for name, value in terms.items()}
            with (out / f"{model}.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        over = bool(minutes) and time.time() - began > 60 * minutes
        if time.time() - last > 60 * every or training.iteration == recipe.iterations or over:
            last = time.time()
            training.save(path)
            picture = out / f"{model}-{training.iteration:06d}.png"
            seen = look(training.average, load_photos(photos, "test", size), picture)
            print(json.dumps({"iteration": training.iteration} | seen), flush=True)
        if over:
            break


if __name__ == "__main__":
    typer.run(main)
