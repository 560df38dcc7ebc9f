"""The floor: what a pattern of random signs does to generators."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from aef_core.methods.base import OUTPUTS_ALONE, Method
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.objective import Problem, seeded


@dataclass
class Random(Method):
    """Random signs, made without any generator: what a method must clearly surpass.

    Formula: delta = eps s, every s -1 or +1 with equal chance. The history has one step: how far
    the pattern moves each generator on one batch.
    Source: the usual control, e.g. Fawzi et al., NeurIPS 2016 (arXiv 1608.08967).
    """

    name = "random"
    fixed = OUTPUTS_ALONE | {"steps": 1}

    def steps(
        self, problem: Problem, config: PerturbationConfig, state: State | None = None
    ) -> Iterator[State]:
        images, budget = problem.faces.images, problem.budget
        shape = (1, *budget.shape(images))
        signs = 2.0 * torch.randint(2, shape, generator=seeded(config.seed, "signs")) - 1
        delta = budget.project((config.eps * signs).to(images), config.eps)
        start = State(delta.clone(), torch.zeros_like(delta))
        for moved in super().steps(problem, config, start):
            yield replace(moved, delta=delta)  # the step is recorded, the signs stay
