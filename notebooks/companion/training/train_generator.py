"""Train one generator of the embedded zoo.

    python -m companion.training.train_generator StarGAN --celeba CELEBA.zip --out runs/zoo64

Runs on CUDA or CPU, logs every term, writes a checkpoint it resumes from. All randomness of an
iteration comes from (seed, iteration), so a resumed run draws what an uninterrupted one draws.
"""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from tqdm.auto import tqdm, trange

from aef_core.atomic import replacement
from aef_core.config import default_device
from aef_core.faces import FaceBatch
from aef_core.models import ARCHITECTURES, ATTRIBUTES, DeepfakeModel, HiSD
from aef_core.models.zoo import load_zoo, zoo_table
from companion.training.networks import Critic, TagCritic, update_average
from companion.training.recipe_hisd import HiSDRecipe
from companion.training.recipes import (
    AttentionGANRecipe,
    AttGANRecipe,
    Recipe,
    StarGANRecipe,
    TrainingConfig,
)

WARMUP_RATE = 1e-3


def build_recipe(model: DeepfakeModel, critic_width: int) -> Recipe:
    """The recipe of a generator, with a fresh critic."""
    if isinstance(model, HiSD):
        critic = TagCritic(
            [len(attrs) for attrs in model.tags.values()],
            model.mappers[0].post_models[0][-1].out_features,
            len(ATTRIBUTES),
            critic_width,
            model.image_size,
        )
        return HiSDRecipe(model, critic)
    recipe = {"AttGAN": AttGANRecipe, "AttentionGAN": AttentionGANRecipe}.get(
        model.name, StarGANRecipe
    )
    critic = Critic(len(model.attributes), critic_width, model.image_size)
    return recipe(model, critic)


def batch_of(faces: FaceBatch, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images, randomly mirrored, and their attributes."""
    x, attributes = faces.images[rows], faces.attributes[rows]
    mirrored = torch.rand(len(rows)) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x.to(device, memory_format=torch.channels_last), attributes.to(device)


def train(
    config: TrainingConfig,
    faces: FaceBatch,
    out: Path,
    checkpoint_every: int = 100,
    weights: dict[str, Tensor] | None = None,
    iteration: int = 0,
    build: Callable[[DeepfakeModel, int], Recipe] = build_recipe,
) -> Path:
    """Train and keep `<out>/<model>.ckpt`, resuming from it if it is there.

    A fresh run starts from `weights` if given, for example those of the shipped generator, which
    had seen so many an `iteration`; then only the critic warms up. An experiment may `build`
    another recipe than the published one.

    Returns the checkpoint's path. The log is `<out>/<model>.jsonl`, one line per 20 iterations.
    """
    out.mkdir(parents=True, exist_ok=True)
    device, path = default_device(), out / f"{config.model}.ckpt"
    torch.manual_seed(config.seed)
    model = ARCHITECTURES[config.model](**config.settings)
    recipe = build(model, config.critic_width)
    for network in (model, recipe.critic):
        network.to(device, memory_format=torch.channels_last).train()
    average = deepcopy(model)
    recipe.start(faces.attributes)
    optimizers = [
        torch.optim.Adam(network.parameters(), betas=(0.5, 0.999))
        for network in (recipe.critic, model)
    ]
    state = {"model": model, "critic": recipe.critic, "average": average}
    state |= {"critic_optimizer": optimizers[0], "model_optimizer": optimizers[1]}
    start = _resume(path, state, device)
    if start is None:
        start = iteration
        if weights is not None:
            model.load_state_dict(weights)
        _warm_up(recipe, faces, config, copying=weights is None)
        average.load_state_dict(model.state_dict())
    progress = tqdm(total=config.iterations, initial=start, desc=config.model, mininterval=10)
    for iteration in range(start, config.iterations):
        torch.manual_seed(config.seed + iteration)
        _set_phase(optimizers, recipe, config, iteration)
        rows = recipe.sample(faces.attributes, config.batch)
        x, attributes = batch_of(faces, rows, device)
        logged = {"iteration": iteration, "time": time.time()}
        for optimizer, losses in (
            (optimizers[0], recipe.critic_losses),
            (optimizers[1], recipe.generator_losses),
        ):
            with _autocast(config, device):
                terms = losses(x, attributes)
            optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            optimizer.step()
            logged |= {name: round(term.item(), 4) for name, term in terms.items()}
        progress.update()
        update_average(average, model, min(config.average, 1 - 1 / (iteration + 2)))
        if iteration % 20 == 0:
            with (out / f"{config.model}.jsonl").open("a") as log:
                log.write(json.dumps(logged) + "\n")
        if (iteration + 1) % checkpoint_every == 0 or iteration + 1 == config.iterations:
            _save(path, state, iteration + 1)
    return path


def _warm_up(recipe: Recipe, faces: FaceBatch, config: TrainingConfig, copying: bool) -> None:
    """The critic learns attributes on real faces, the generator learns to copy (if it has to).

    Without this head start the cycle loss takes thousands of iterations to find faces at all.
    """
    device = next(recipe.model.parameters()).device
    critic_part = (recipe.critic, recipe.attribute_warmup, 32)
    model_part = (recipe.model, recipe.copy_loss, config.batch)
    for network, loss_of, batch in (critic_part, model_part)[: 1 + copying]:
        optimizer = torch.optim.Adam(network.parameters(), WARMUP_RATE)
        steps = min(config.warmup, 500) if network is recipe.critic else config.warmup
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, WARMUP_RATE / 5)
        for iteration in trange(steps, desc=f"{config.model} warm-up", mininterval=10):
            torch.manual_seed(config.seed - 1 - iteration)
            x, attributes = batch_of(faces, torch.randint(len(faces), (batch,)), device)
            optimizer.zero_grad(set_to_none=True)
            with _autocast(config, device):
                loss = loss_of(x, attributes)
            loss.backward()
            optimizer.step()
            schedule.step()
        tqdm.write(f"{config.model} warm-up ends at {loss.item():.3f}")


def _autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where the config says so; weights and gradients stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


def _set_phase(
    optimizers: list[torch.optim.Optimizer],
    recipe: Recipe,
    config: TrainingConfig,
    iteration: int,
) -> None:
    """Learning rate and weights of the phase; the rate falls to zero at the end."""
    recipe.phase = phase = [p for p in config.phases if p.start <= iteration][-1]
    left = (config.iterations - iteration) / (config.iterations * (1 - config.decay_from))
    for optimizer, pace in zip(optimizers, (phase.critic_pace, 1.0), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = pace * phase.rate * min(1.0, left)


def _save(path: Path, state: dict, iteration: int) -> None:
    """Atomic: a killed run leaves the previous checkpoint whole."""
    content = {k: v.state_dict() for k, v in state.items()} | {"iteration": iteration}
    with replacement(path) as temporary:
        torch.save(content, temporary)


def _resume(path: Path, state: dict, device: torch.device) -> int | None:
    if not path.exists():
        return None
    stored = torch.load(path, map_location=device, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(stored[name])
    return stored["iteration"]


def main(
    model: Annotated[str, typer.Argument(help="StarGAN, AttentionGAN, AttGAN or HiSD")],
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="where checkpoint and log go")] = Path("runs/zoo64"),
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    iterations: Annotated[int, typer.Option(help="end after so many, shipped ones counted")] = 0,
    warmup: Annotated[int, typer.Option(help="steps before the game, -1: the config's")] = -1,
    continue_shipped: Annotated[bool, typer.Option(help="start from the shipped weights")] = False,
    zoo: Annotated[str, typer.Option(help="celeba64 or faces128")] = "celeba64",
    lfw: Annotated[Path | None, typer.Option(help="LFW, folder or zip: more faces")] = None,
    labeller: Annotated[
        Path | None, typer.Option(help="file of train_classifier: labels LFW")
    ] = None,
) -> None:
    """Train one generator of an embedded zoo."""
    from companion.training.zoo128 import ZOOS, grown, training_faces  # built on this module

    if model not in ARCHITECTURES:
        raise typer.BadParameter(f"unknown model {model!r}; known: {', '.join(ARCHITECTURES)}")
    if zoo not in ZOOS:
        raise typer.BadParameter(f"unknown zoo {zoo!r}; known: {', '.join(ZOOS)}")
    if threads:
        torch.set_num_threads(threads)
    config = ZOOS[zoo][model]
    config = replace(config, iterations=iterations or config.iterations)
    config = replace(config, warmup=config.warmup if warmup < 0 else warmup)
    weights = grown(config) if config.grown else None
    iteration = 0
    if continue_shipped:
        weights = load_zoo(zoo, models=[model])[model].state_dict()
        iteration = zoo_table(zoo)[model]["training"]["iterations"]
    faces = training_faces(zoo, celeba, lfw, labeller)
    train(config, faces, out, weights=weights, iteration=iteration)


if __name__ == "__main__":
    typer.run(main)
