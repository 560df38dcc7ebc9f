"""Where the time of a step goes: habits of the published loop, and weighting rules."""

from collections.abc import Iterable
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import RULES, Feedback, Weighting, make_rule
from companion.bench.measure import paired, ratio, spread, stepper
from companion.bench.published import Habits

HEARD, CALLS = 3, 10  # steps whose feedback rules are timed on, and how often a round has it
AS_PUBLISHED = "as published"
VARIANTS = {
    AS_PUBLISHED: Habits(),
    "clean outputs kept": Habits(clean_each_step=False),
    "weights frozen": Habits(parameter_gradients=False),
    "encoders in feature steps": Habits(whole_generators=False),
    "all of these": Habits(False, False, False),
}


def breakdown(times: pd.DataFrame) -> pd.DataFrame:
    """What each habit of the published loop costs: the loop with it mended, over our step.

    `times` from `race.race` with everything.

    Returns
    -------
    DataFrame indexed by what was mended, with columns value (median), low, high (range).
    """
    timed = {AS_PUBLISHED: "published"} | {n: n for n in VARIANTS if n in set(times["name"])}
    return pd.DataFrame({name: ratio(times, key, "step") for name, key in timed.items()}).T


def rule_costs(
    zoo: Zoo, faces: FaceBatch, rules: Iterable[str], batch: int = 8, repetitions: int = 5
) -> pd.DataFrame:
    """A step under each weighting rule over a step of plain averaging.

    Every rule gets the same gradients, one per generator, so only its own work is timed anew, on
    what some steps of averaging reported, and put in the place of averaging's.

    Returns
    -------
    DataFrame indexed by rule, with columns value (median), low, high (range).
    """
    seen: list[Feedback] = []

    class Listening(RULES["uniform"]):
        def __call__(self, feedback: Feedback) -> Tensor:
            seen.append(feedback)
            return super().__call__(feedback)

    config = PerturbationConfig(steps=10_000, batch=batch)
    step = stepper(perturb(Problem(zoo, faces), Listening(), config))
    for _ in range(HEARD):
        step()
    heard = seen[:] * CALLS

    def work(rule: Weighting) -> None:
        for feedback in heard:
            rule(feedback)

    names = list(dict.fromkeys(["uniform", *rules]))
    contenders = {"step": step} | {name: partial(work, make_rule(name)) for name in names}
    times = paired(contenders, repetitions, device=device_of(zoo))
    wide = times.pivot(index="repetition", columns="name", values="seconds")
    own = wide[names] / len(heard)
    return pd.DataFrame(
        {n: spread(1 + (own[n] - own["uniform"]) / wide["step"]) for n in names if n != "uniform"}
    ).T


def device_of(zoo: Zoo) -> torch.device:
    """Where the generators are."""
    return next(next(iter(zoo.values())).parameters()).device
