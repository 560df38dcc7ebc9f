"""Where the time of a step goes: habits of the published loop, and weighting rules."""

from collections.abc import Iterable

import pandas as pd
import torch

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import make_rule
from companion.bench.measure import paired, ratio, stepper
from companion.bench.published import Habits, published_steps

VARIANTS = {
    "as published": Habits(),
    "clean outputs kept": Habits(clean_each_step=False),
    "weights frozen": Habits(parameter_gradients=False),
    "encoders in feature steps": Habits(whole_generators=False),
    "all of these": Habits(False, False, False),
}


def breakdown(
    zoo: Zoo,
    faces: FaceBatch,
    batch: int = 8,
    feature_steps: int = 0,
    repetitions: int = 5,
    clock: str = "seconds",
) -> pd.DataFrame:
    """What each habit of the published loop costs: the loop with it mended, over our step.

    Returns
    -------
    DataFrame indexed by what was mended, with columns value (median), low, high (range).
    """
    config = PerturbationConfig(steps=10_000, batch=batch, feature_steps=feature_steps)
    contenders = {
        name: stepper(published_steps(zoo, faces, make_rule("aef"), config, habits))
        for name, habits in VARIANTS.items()
        if feature_steps or habits.whole_generators or name == "all of these"
    }
    contenders["step"] = stepper(perturb(Problem(zoo, faces), make_rule("aef"), config))
    times = paired(contenders, repetitions, device=device_of(zoo))
    return pd.DataFrame(
        {name: ratio(times, name, "step", clock) for name in contenders if name != "step"}
    ).T


def rule_costs(
    zoo: Zoo,
    faces: FaceBatch,
    rules: Iterable[str],
    batch: int = 8,
    repetitions: int = 5,
    clock: str = "seconds",
) -> pd.DataFrame:
    """A step under each weighting rule over a step of plain averaging.

    Every rule gets the same gradients, one per generator, so what differs is the rule's own work.

    Returns
    -------
    DataFrame indexed by rule, with columns value (median), low, high (range).
    """
    config = PerturbationConfig(steps=10_000, batch=batch)
    names = list(dict.fromkeys(["uniform", *rules]))
    problem = Problem(zoo, faces)
    contenders = {name: stepper(perturb(problem, make_rule(name), config)) for name in names}
    times = paired(contenders, repetitions, device=device_of(zoo))
    return pd.DataFrame(
        {name: ratio(times, name, "uniform", clock) for name in names if name != "uniform"}
    ).T


def device_of(zoo: Zoo) -> torch.device:
    """Where the generators are."""
    return next(next(iter(zoo.values())).parameters()).device
