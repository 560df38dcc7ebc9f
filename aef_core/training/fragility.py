"""A controlled experiment: does training for the way back make a generator fragile?

    python -m aef_core.training.fragility --celeba CELEBA.zip --out runs/fragility --threads 1

Per seed and architecture one common start, trained without a cycle; then arms that differ in
nothing but the weights of cycle and identity loss: same data, same draws, same critic, same
optimiser state, same number of iterations. Each checkpoint is judged on held-out faces. The command
can be stopped at any time: it resumes from its checkpoints and skips what its tables hold, one an
architecture, so that processes may share the architectures. Another schedule needs another folder
of checkpoints and other tables. A first look: `--seeds 1 --start 400 --iterations 500 --every 250`.
"""

import shutil
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
from aef_core.generators import ARCHITECTURES, AttGAN, DeepfakeModel
from aef_core.generators.stargan import STARGAN_ATTRIBUTES
from aef_core.studies.cycle import RESULTS
from aef_core.training.fragility_measures import Judge, Table
from aef_core.training.networks import Critic
from aef_core.training.recipes import AttGANRecipe, Losses, Phase, Recipe, TrainingConfig
from aef_core.training.train_generator import build_recipe, train

START, EVERY = 1200, 400  # iterations of the common start, between two checkpoints
SEED = 20261121
CONSTANT_RATE = 1 - 1e-9  # the learning rate never falls, so every checkpoint is like the last

SMALL = {
    "StarGAN": {"width": 16, "blocks": 2, "image_size": 64},
    "AttentionGAN": {"width": 16, "blocks": 2, "image_size": 64},
    "AttGAN": {"attributes": STARGAN_ATTRIBUTES, "width": 24, "layers": 4, "image_size": 64},
}


@dataclass(frozen=True)
class Arm:
    """One way to go on from the common start: weights of cycle and identity loss.

    AttGAN's published reconstruction (weight 100) is its identity loss and stays in every arm.
    """

    name: str
    cycle: float
    identity: float


def arms(architecture: str) -> tuple[tuple[Arm, ...], ...]:
    """The arms of an architecture, in rounds of falling importance.

    AttGAN's attribute term, 10 times the mean over five attributes, is twice StarGAN's sum; a cycle
    of 20 stands to it as StarGAN's 10.
    """
    if architecture == "AttGAN":
        return (Arm("identity", 0, 0), Arm("cycle", 20, 0)), (Arm("cycle x 4", 80, 0),)
    main = (Arm("identity", 0, 10), Arm("cycle", 10, 0))
    if architecture == "AttentionGAN":
        return main, (Arm("both", 10, 10),)
    return main, (Arm("both", 10, 10), Arm("cycle / 4", 2.5, 0), Arm("cycle x 4", 40, 0))


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
    """How long the common start and the arms last, and how often they are judged."""

    start: int = START
    iterations: int = 3 * EVERY  # of each arm
    every: int = EVERY

    def checkpoints(self) -> range:
        return range(self.start + self.every, self.start + self.iterations + 1, self.every)


def settings(architecture: str, seed: int, arm: Arm, begin: int) -> TrainingConfig:
    """Training config of an arm that begins at some iteration; before it lies the start."""
    common = Phase(0, 5e-4, 0.0, 1.5, 2.0, critic_pace=2.0, openness=1.0)
    start = common._replace(identity=0.0 if architecture == "AttGAN" else 10.0)
    own = common._replace(start=begin, cycle=arm.cycle, identity=arm.identity)
    return TrainingConfig(
        architecture,
        SMALL[architecture],
        phases=(start, own),
        decay_from=CONSTANT_RATE,
        warmup=300,
        critic_width=16,
        seed=SEED + 1_000_000 * seed,
    )


def run_arm(
    config: TrainingConfig, out: Path, until: int, faces: FaceBatch, start: Path | None
) -> DeepfakeModel:
    """Train an arm up to an iteration (resuming, or from the start's checkpoint), and freeze it."""
    path = out / f"{config.model}.ckpt"
    if start is not None and not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(start, path)
    train(replace(config, iterations=until), faces, out, build=recipe_of)
    model = ARCHITECTURES[config.model](**config.settings)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model.eval().requires_grad_(False)


def experiment(
    faces: FaceBatch, judge: Judge, results: Path, out: Path, jobs: list[tuple], plan: Schedule
) -> None:
    """Run jobs (seed, architecture, arms): arms take turns, so that they can always be compared."""
    for seed, architecture, compared in jobs:
        table = Table(results / f"fragility-{architecture}.csv")
        table.refuse_other_start(plan.start)
        folder = out / f"{architecture}-{seed}"
        begun = {"architecture": architecture, "seed": seed}
        start = Arm("start", 0, 0 if architecture == "AttGAN" else 10)
        steps = [(start, plan.start)] + [(arm, n) for n in plan.checkpoints() for arm in compared]
        for arm, until in steps:
            key = begun | {"arm": arm.name, "cycle": arm.cycle, "iteration": until}
            if table.holds(key):
                continue
            config = settings(architecture, seed, arm, plan.start)
            origin = None if arm is start else folder / "start" / f"{architecture}.ckpt"
            model = run_arm(config, folder / arm.name, until, faces, origin)
            last = until == plan.start + plan.iterations
            table.add(key, judge.all(model) if last else judge.brief(model))


def main(
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="folder of checkpoints")] = Path("runs/fragility"),
    results: Annotated[Path, typer.Option(help="folder of the tables")] = RESULTS,
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ...")] = 3,
    iterations: Annotated[int, typer.Option(help="of each arm")] = 3 * EVERY,
    start: Annotated[int, typer.Option(help="iterations of the common start")] = START,
    every: Annotated[int, typer.Option(help="iterations between checkpoints")] = EVERY,
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    architectures: Annotated[str, typer.Option(help="in this order")] = ",".join(SMALL),
) -> None:
    """Train every arm of every seed; keep the measured numbers in tables."""
    names = architectures.split(",")
    for name in names:
        if name not in SMALL:
            raise typer.BadParameter(f"unknown architecture {name!r}; known: {', '.join(SMALL)}")
    if threads:
        torch.set_num_threads(threads)
    plan = Schedule(start, iterations, every)
    rounds = max(len(arms(n)) for n in names)
    jobs = [
        (seed, name, arms(name)[turn])
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
