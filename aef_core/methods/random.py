"""The floor: what any pattern of this budget does, aimed at nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from aef_core.faces import FaceBatch
from aef_core.methods.base import Method
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.objective import Hooks, Zoo, seeded
from aef_core.weighting import Weighting


@dataclass
class Random(Method):
    """Random signs, which no generator was asked about: what a method must clearly surpass.

    Formula: delta = eps s, every s -1 or +1 with equal chance.
    Source: the usual control of the adversarial literature, e.g. Fawzi et al., NeurIPS 2016 (arXiv
    1608.08967): random noise moves a network far less than a perturbation of its size can.

    History: one step, what the generators feel of the pattern on one batch.
    """

    name: ClassVar[str] = "random"
    idea: ClassVar[str] = "random signs at the bound: the floor under every number"

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(config, steps=1, feature_weight=0.0, feature_steps=0, universal=True)

    def states(
        self,
        zoo: Zoo,
        faces: FaceBatch,
        rule: Weighting,
        config: PerturbationConfig,
        state: State | None,
        hooks: Hooks,
        *machine: Any,
    ) -> Iterator[State]:
        shape = (1, *hooks.budget.shape(faces.images))
        signs = 2.0 * torch.randint(2, shape, generator=seeded(config.seed, "signs")) - 1
        delta = hooks.budget.project((config.eps * signs).to(faces.images), config.eps)
        start = State(delta.clone(), torch.zeros_like(delta))
        for felt in perturb(zoo, faces, rule, config, start, hooks, *machine):
            yield replace(felt, delta=delta)  # the record of the step, not its movement
