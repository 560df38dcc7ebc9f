"""TSDF: interrupt the generators, then poison the face detector in the room that is left."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from aef_core.methods.base import Method, refuse_budget
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.budgets import Separated
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.registry import setting
from aef_core.weighting import make_rule


@dataclass
class TSDF(Method):
    """Two-stage defence: interruption plus poisoning, kept apart by intensity.

    Formula: first u, by `inner` sign steps on pooled features before each step on sum_k w_k S_k
    with AEF's weights; then delta = u + M theta with M = 1[|u| < threshold] exp(-decay |u|), theta
    moved against a face detector (see `poisoning`), delta within the box.
    Source: TSDF (arXiv 2508.07795, IEEE TIFS 2026), github.com/vpsg-research/TSDF, whose settings
    are the defaults, with lam 0.3, momentum 0.8 and step 1e-3.

    Departs from the published code: MTCNN instead of RetinaFace, S3FD and DSFD; sign steps for
    theta instead of Adam at 0.02, which saturates at once; no enhancement loss (weight 0.001).
    History: the second stage adds rows of the target "MTCNN"; cosines are those of the first.
    """

    name = "tsdf"
    rule = "aef"
    fixed: ClassVar = {
        "feature_weight": 0.3, "feature_distance": "mse", "momentum": 0.8, "universal": True
    }  # fmt: skip
    inner: int = setting(3, "0 or more")  # feature steps before each step
    diversity: float = 0.5  # chance of a random resize of the protected image
    threshold: float = setting(0.040, "positive")  # in [-1, 1] units at eps 0.05, scaled with eps
    decay: float = 5.0
    poison_steps: int = setting(50, "0 or more")  # on top of those asked for; 0: no second stage
    tau: float = 0.1  # as beta: see `weighting.aef`
    beta: float = 0.9

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = super().loop(config, n, zoo)
        return replace(plain, steps=plain.steps + self.poison_steps)

    def steps(
        self, problem: Problem, config: PerturbationConfig, state: State | None = None
    ) -> Iterator[State]:
        if self.poison_steps:
            refuse_budget(self.name, problem)
        first = replace(config, steps=config.steps - self.poison_steps)
        if state is None or "interruption" not in state.extra:
            for state in super().steps(problem, first, state):  # noqa: B020
                yield state
        if self.poison_steps:
            yield from self._poison(problem, config, state)

    def _poison(
        self, problem: Problem, config: PerturbationConfig, state: State
    ) -> Iterator[State]:
        """The second stage: the same loop, another target, in the room the first one leaves."""
        from aef_core.methods.poisoning import DETECTION, detection_target  # slow to import

        if "interruption" not in state.extra:
            nothing = torch.zeros_like(state.delta)
            state = replace(state, delta=nothing, velocity=nothing.clone(), rule={},
                            extra={"interruption": state.delta.clone()})  # fmt: skip
        first = state.extra["interruption"].to(problem.device)
        room = Separated(first, self.threshold * config.eps / 0.05, self.decay)
        target = detection_target(problem.device)
        detector = replace(problem, zoo=target, budget=room, objective=DETECTION)
        # theta is scaled down by M, up to exp(-5 * 0.04) = 0.82; steps of a tenth of the box
        loop = replace(config, feature_steps=0, diversity=0.0, step_size=0.1 * config.eps)
        for moved in perturb(detector, make_rule("uniform"), loop, state):
            moved.cosines = moved.cosines[: config.steps - self.poison_steps]
            if moved.step == config.steps:
                moved = replace(moved, delta=room.decode(moved.delta))
            yield moved
