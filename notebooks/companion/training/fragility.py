"""A controlled experiment: does training for the way back make a generator fragile?

    python -m companion.training.fragility --celeba CELEBA.zip --out runs/fragility --threads 1

Every architecture begins as shipped and is trained on in arms that differ in nothing but the
weights of cycle and identity loss: same start, data, draws, critic, number of iterations. Where the
zoo trained with a cycle, one arm takes it away; where it did not, one adds it. Each checkpoint is
judged on held-out faces. The command can be stopped at any time: it resumes from its checkpoints
and skips what its tables hold, one an architecture, so that processes may share the architectures.
Another schedule needs another folder of checkpoints and other tables. A first look: `--seeds 1`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from aef_core.faces import FaceBatch, load_faces
from aef_core.models import ARCHITECTURES, AttGAN, DeepfakeModel
from aef_core.models.zoo import load_zoo, zoo_table
from companion.studies.arms import RESULTS
from companion.training.fragility_measures import Judge, Table
from companion.training.networks import Critic
from companion.training.recipes import (
    CONSTANT_RATE,
    AttGANRecipe,
    Losses,
    Recipe,
    TrainingConfig,
)
from companion.training.train_generator import build_recipe, train
from companion.training.zoo64 import ZOO64

EVERY = 300  # iterations between two checkpoints
SEED = 20261121
BATCH = 8
ORDER = ("StarGAN", "AttGAN", "AttentionGAN", "HiSD")


@dataclass(frozen=True)
class Arm:
    """One way to go on from the shipped generator: weights of cycle and identity loss.

    AttGAN's published reconstruction (weight 100) is its identity loss: it stays in every arm, and
    an arm that adds a cycle has both.
    """

    name: str
    cycle: float
    identity: float


def arms(architecture: str) -> tuple[tuple[Arm, ...], ...]:
    """The arms of an architecture, in rounds of falling importance.

    The zoo's AttGAN weighs attributes about six times as StarGAN does; a cycle of 60 stands to them
    as StarGAN's published 10. HiSD's identity losses are its two published reconstructions of
    unedited faces. It was trained without: one arm goes on so, the other adds them.
    """
    if architecture == "AttGAN":
        return ((Arm("identity", 0, 0), Arm("both", 60, 0)),)
    if architecture == "HiSD":
        return ((Arm("cycle", 20, 0), Arm("both", 20, 10)),)
    main = (Arm("identity", 0, 10), Arm("cycle", 10, 0))
    weights = Arm("cycle / 4", 2.5, 0), Arm("cycle x 4", 40, 0)
    return main, (Arm("neither", 0, 0), Arm("both", 10, 10)), weights


class CycledAttGANRecipe(AttGANRecipe):
    """AttGAN with the cycle its paper does not have; only this experiment trains it."""

    def _more_losses(self, x: Tensor, fake: Tensor, own: Tensor) -> Losses:
        if not self.phase.cycle:
            return {}
        with unchanged_statistics(self.model):
            back = self.model(fake, self.scaled(own))
        return {"cycle": self.phase.cycle * F.l1_loss(back, x)}


@contextmanager
def unchanged_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms keep their running statistics: those are of photos, in every arm."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    yield
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def recipe_of(model: DeepfakeModel, critic_width: int) -> Recipe:
    """The published recipe; AttGAN's with a cycle that weighs `phase.cycle`."""
    if isinstance(model, AttGAN):
        critic = Critic(len(model.attributes), critic_width, model.image_size)
        return CycledAttGANRecipe(model, critic)
    return build_recipe(model, critic_width)


@dataclass(frozen=True)
class Schedule:
    """How long the arms last, and how often they are judged."""

    iterations: int = 3 * EVERY
    every: int = EVERY

    def checkpoints(self) -> range:
        return range(self.every, self.iterations + 1, self.every)


@dataclass(frozen=True)
class Start:
    """A trained generator, how it was trained, and for how many iterations."""

    model: DeepfakeModel
    config: TrainingConfig
    iteration: int


def shipped(name: str) -> Start:
    """A generator of the embedded zoo."""
    model = load_zoo("celeba64", models=[name], device="cpu")[name]
    return Start(model, ZOO64[name], zoo_table("celeba64")[name]["training"]["iterations"])


def settings(start: Start, seed: int, arm: Arm) -> TrainingConfig:
    """Training config of an arm: the start's last phase, but for cycle and identity."""
    phase = start.config.phases[-1]._replace(start=0, cycle=arm.cycle, identity=arm.identity)
    return replace(
        start.config,
        batch=BATCH,
        phases=(phase,),
        decay_from=CONSTANT_RATE,  # so every checkpoint is like the last
        seed=SEED + 1_000_000 * seed,
    )


def run_arm(
    start: Start, config: TrainingConfig, out: Path, until: int, faces: FaceBatch
) -> DeepfakeModel:
    """Train an arm up to an iteration (resuming, or from the start), and freeze it."""
    config = replace(config, iterations=until)
    weights, begun = start.model.state_dict(), start.iteration
    path = train(config, faces, out, weights=weights, iteration=begun, build=recipe_of)
    model = ARCHITECTURES[config.model](**config.settings)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model.eval().requires_grad_(False)


Job = tuple[int, Start, tuple[Arm, ...]]


def experiment(
    faces: FaceBatch, judge: Judge, results: Path, out: Path, jobs: list[Job], plan: Schedule
) -> None:
    """Run jobs (seed, start, arms): arms take turns, so that they can always be compared."""
    for seed, start, compared in jobs:
        name, begun = start.config.model, start.iteration
        table = Table(results / f"fragility-{name}.csv")
        table.refuse_other_start(begun)
        key = {"architecture": name, "seed": seed, "arm": "start", "cycle": 0, "iteration": begun}
        if not table.holds(key):
            table.add(key, judge.brief(start.model))
        steps = [(arm, begun + n) for n in plan.checkpoints() for arm in compared]
        for arm, until in steps:
            key |= {"arm": arm.name, "cycle": arm.cycle, "iteration": until}
            if table.holds(key):
                continue
            folder = out / f"{name}-{seed}" / arm.name
            model = run_arm(start, settings(start, seed, arm), folder, until, faces)
            last = until == begun + plan.iterations
            table.add(key, judge.all(model) if last else judge.brief(model))


def main(
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="folder of checkpoints")] = Path("runs/fragility"),
    results: Annotated[Path, typer.Option(help="folder of the tables")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 3,
    iterations: Annotated[int, typer.Option(help="of each arm")] = 3 * EVERY,
    every: Annotated[int, typer.Option(help="iterations between checkpoints")] = EVERY,
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    architectures: Annotated[str, typer.Option(help="in this order")] = ",".join(ORDER),
) -> None:
    """Train every arm of every seed; keep the measured numbers in tables."""
    names = architectures.split(",")
    for name in names:
        if name not in ZOO64:
            raise typer.BadParameter(f"unknown architecture {name!r}; known: {', '.join(ZOO64)}")
    if threads:
        torch.set_num_threads(threads)
    plan = Schedule(iterations, every)
    rounds = max(len(arms(n)) for n in names)
    starts = {name: shipped(name) for name in names}
    jobs = [
        (seed, starts[name], arms(name)[turn])
        for turn in range(rounds)
        for seed in range(seeds)
        for name in names
        if turn < len(arms(name))
    ]
    faces = load_faces("celeba", "train", root=celeba)
    judge = Judge(faces[:64], load_faces("celeba", "test", n=120, root=celeba))
    experiment(faces, judge, results, out, jobs, plan)


if __name__ == "__main__":
    typer.run(main)
