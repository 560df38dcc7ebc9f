"""Every loop that a ratio needs, timed in the same rounds: no loop is measured twice."""

import pandas as pd

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.execution import FAST, PLAIN
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import make_rule
from companion.bench.costs import AS_PUBLISHED, VARIANTS, device_of
from companion.bench.floor import bare_steps
from companion.bench.measure import paired, stepper
from companion.bench.precision import SETTINGS
from companion.bench.published import published_steps


def race(
    zoo: Zoo,
    faces: FaceBatch,
    batch: int = 8,
    repetitions: int = 5,
    feature_steps: int = 0,
    everything: bool = False,
) -> pd.DataFrame:
    """Times, as of `measure.paired`, of the loops that `guard.ratios` compares.

    They are "floor", "step", "fast step" (ours with `execution.FAST`) and "published"; floor, step
    and published loop compute in float32. With `everything` also those of `costs.breakdown` and of
    `precision.speedups`, by the names they have there.
    """
    config = PerturbationConfig(steps=10_000, batch=batch, feature_steps=feature_steps)
    ours, theirs = {"step": PLAIN, "fast step": FAST}, {"published": VARIANTS[AS_PUBLISHED]}
    if everything:
        ours |= {name: s for name, s in SETTINGS.items() if s not in ours.values()}
        theirs |= {name: h for name, h in VARIANTS.items() if name != AS_PUBLISHED
                   and (feature_steps or h.whole_generators or not h.clean_each_step)}  # fmt: skip
    contenders = {"floor": stepper(bare_steps(zoo, faces, config))}
    for name, execution in ours.items():
        problem = Problem(zoo, faces, execution=execution)
        contenders[name] = stepper(perturb(problem, make_rule("aef"), config))
    for name, habits in theirs.items():
        loop = published_steps(zoo, faces, make_rule("aef"), config, habits)
        contenders[name] = stepper(loop)
    return paired(contenders, repetitions, device=device_of(zoo))
