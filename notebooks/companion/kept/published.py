"""What is kept, and with which constants: every method at the schedule it was published with.

Constants of the loop that are not named here (eps 0.05, momentum 0.8, step 1e-3, lam 0.3) are the
defaults of `PerturbationConfig`, those of a method its own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aef_core.jobs import Job
from aef_core.methods import make_method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from companion.studies.differences import RANDOM

STEPS = 480  # 30 epochs of 16 batches: what `steps` of a reduced schedule is a share of
FACES = 128  # that a perturbation is optimised on
SEEDS = 3
AVERAGING, STATIC, AEF, TSDF = "uniform", "grad-norm", "AEF", "TSDF"
AEF_OUTPUTS, MAXMIN = "AEF, outputs alone", "max-min (ours)"
UNPOISONED = "TSDF, unpoisoned"
TAUS = {0.001: "AEF, tau 0.001", 0.01: "AEF, tau 0.01", 0.03: "AEF, tau 0.03", 0.1: AEF}
BETAS = {0.0: "AEF, beta 0", 0.9: AEF}


@dataclass(frozen=True)
class Schedule:
    """One method as it is kept."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = STEPS  # its own, feature steps come on top; None: each face once
    batch: int = 8
    seeds: int = 1
    loop: Mapping[str, Any] = field(default_factory=dict)  # of `PerturbationConfig`
    counts: Mapping[str, int] = field(default_factory=dict)  # settings that count steps

    def job(self, label: str, zoo: Zoo, n: int, steps: int, seed: int) -> Job:
        """The run, of all steps or, where `steps` is less than `STEPS`, of as large a share.

        Fewer steps are longer ones, by the square root, as the quick profile's are: else a short
        run would not leave its random start.
        """
        share = min(1.0, steps / STEPS)
        settings = {**self.settings, **{k: _share(n, share) for k, n in self.counts.items()}}
        loop = PerturbationConfig(batch=self.batch, seed=seed, **self.loop)
        loop = replace(loop, step_size=loop.step_size / math.sqrt(share))
        own = math.ceil(n / self.batch) if self.steps is None else _share(self.steps, share)
        cost = make_method(self.method, **settings).cost(zoo)  # `loop` of a method divides by it
        return Job(self.method, settings, replace(loop, steps=round(own * cost)), label)


def _share(count: int, share: float) -> int:
    return max(1, round(count * share))


FEATURES = {"feature_steps": 3}  # before each step, as AEF: these three differ in weights alone
SCHEDULES: dict[str, Schedule] = {
    RANDOM: Schedule("random", seeds=SEEDS),
    AVERAGING: Schedule("uniform", seeds=SEEDS, loop=FEATURES),
    STATIC: Schedule("grad-norm", seeds=SEEDS, loop=FEATURES),
    AEF: Schedule("aef", {"inner": 3}, seeds=SEEDS),
    TSDF: Schedule("tsdf", {"inner": 3}, seeds=SEEDS, counts={"poison_steps": 50}),
    MAXMIN: Schedule("max-min", seeds=SEEDS),
    "FOUND": Schedule("found", {"inner": 5}, steps=50 * 16),
    "CMUA": Schedule("cmua", steps=None, batch=64, counts={"inner": 10}),
    "DWT": Schedule("dwt"),
    "PGD": Schedule("pgd"),
    "MI-FGSM": Schedule("mi-fgsm"),
    AEF_OUTPUTS: Schedule("aef", {"inner": 0, "feature_weight": 0.0}),
    UNPOISONED: Schedule("tsdf", {"inner": 3, "poison_steps": 0}),
    **{TAUS[tau]: Schedule("aef", {"inner": 3, "tau": tau}) for tau in TAUS if TAUS[tau] != AEF},
    BETAS[0.0]: Schedule("aef", {"inner": 3, "beta": 0.0}),
}
# the main table
METHODS = (RANDOM, AVERAGING, "PGD", "MI-FGSM", "CMUA", "FOUND", "DWT", TSDF, AEF, MAXMIN)
RULES = (RANDOM, AVERAGING, STATIC, AEF)


REFERENCES = ("mi-fgsm", "pgd")  # what single-model references are made with; the better stays


def reference_config(steps: int) -> PerturbationConfig:
    """The loop of the single-model references: the steps of a plain method."""
    return Schedule(REFERENCES[0]).job("", {}, 0, steps, seed=0).config


def jobs(
    zoo: Zoo, n: int, steps: int, seeds: int, levels: Sequence[float], labels: Sequence[str] = ()
) -> Iterator[Job]:
    """The runs to make on `n` faces, at most `seeds` of each; all labels, or these.

    `levels` are what `max-min` balances against, in the order of the zoo.
    """
    for label in labels or SCHEDULES:
        schedule = SCHEDULES[label]
        if label == MAXMIN:
            schedule = replace(schedule, settings={"single_model": tuple(levels)})
        for seed in range(min(seeds, schedule.seeds)):
            yield schedule.job(label, zoo, n, steps, seed)
