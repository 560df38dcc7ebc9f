"""The methods of the main table, and what it will cost on this machine, before it is started."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import pandas as pd

from aef_core.faces import FaceBatch
from aef_core.methods import PUBLISHED, make_method
from aef_core.metrics import Evaluator
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import make_rule
from companion.studies.differences import REFERENCE
from companion.studies.main_table import Entry, universal


def method_table(zoo: Zoo) -> pd.DataFrame:
    """The published methods, one row each: idea, weighting rule, cost of a step on this zoo,
    settings with paper values."""
    rows = []
    for name, kind in PUBLISHED.items():
        method = kind()
        said = ", ".join(f"{key}={value}" for key, value in method.settings().items())
        rows.append({"method": name, "idea": kind.idea, "rule": kind.rule,
                     "cost per step": method.cost(zoo), "settings": said})  # fmt: skip
    return pd.DataFrame(rows).set_index("method")


def planned_steps(
    entries: Mapping[str, Entry], config: PerturbationConfig, n_train: int, judge: Evaluator,
    seeds: int,
) -> pd.Series:  # fmt: skip
    """What the table costs, in plain steps (all generators forward and backward on a batch).

    An edit of a photo costs about a third of a generator's share of a step. Poison, small as it is,
    is left out.
    """
    n_test = len(judge.faces)
    pairs = n_test * sum(len(model.edits) for model in judge.zoo.values())
    judging = pairs / (3 * len(judge.zoo) * config.batch)
    cost = {REFERENCE: config.steps + judging}
    for label, entry in entries.items():
        method, one = make_method(entry[0], **entry[1]), universal(entry)
        loop = method.loop(config, n_train if one else n_test, judge.zoo)
        steps = loop.steps - getattr(method, "poison_steps", 0)
        work = steps * method.cost(judge.zoo) * loop.batch / config.batch
        cost[label] = (work + judging) * (seeds if one else 1)
    return pd.Series(cost, name="plain steps")


def seconds_per_step(zoo: Zoo, faces: FaceBatch, config: PerturbationConfig) -> float:
    """Measured on this machine: two plain steps, after one to warm up."""
    faces = faces[: min(len(faces), 2 * config.batch)]
    loop = perturb(Problem(zoo, faces), make_rule("uniform"), replace(config, steps=3))
    next(loop)
    started = time.perf_counter()
    done = len(list(islice(loop, 2)))
    return (time.perf_counter() - started) / done


def minutes(seconds: float) -> str:
    """A duration for people: "40 s", "7 min"."""
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"
