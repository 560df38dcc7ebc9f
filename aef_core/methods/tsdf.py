"""TSDF: interrupt the generators, then poison the face detector in the room that is left."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from aef_core.errors import BadInput
from aef_core.methods.base import FEATURE_STEP, Method, refuse_budget
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.budgets import Separated
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import AEF, Uniform, Weighting


@dataclass
class TSDF(Method):
    """Two-stage defence: interruption plus poisoning, kept apart by intensity.

    Formula: first u, by sign steps on pooled features, which leave the momentum alone, and a step
    on sum_k w_k S_k with AEF's weights;
    then delta = u + M theta with M = 1[|u| < threshold] exp(-decay |u|), theta moved against a face
    detector (see `poisoning`), delta within the box.
    Source: TSDF (arXiv 2508.07795, IEEE TIFS 2026), github.com/vpsg-research/TSDF. Paper settings:
    3 feature steps, lam 0.3, momentum 0.8, step 1e-3, input diversity 0.5, tau 0.1, beta 0.9;
    threshold 0.040, decay 5, 50 poisoning steps.

    Parameters
    ----------
    inner : int
        Feature steps before each step.
    diversity : float
        Chance of a random resize of the protected image.
    threshold, decay : float
        Of the intensity separation; threshold in [-1, 1] units, at eps 0.05.
    poison_steps : int
        Steps of the second stage, on top of those asked for; 0 leaves it out.
    tau, beta : float
        See `weighting.AEF`.

    Departs from the published code: the detector is MTCNN instead of RetinaFace, S3FD and DSFD; the
    poison moves by the loop's sign steps instead of Adam at 0.02 (which saturates at once); the
    enhancement loss, of weight 0.001, is left out. The threshold scales with eps. History: the
    second stage adds rows of the target "MTCNN"; cosines are those of the first stage.
    """

    name: ClassVar[str] = "tsdf"
    rule: ClassVar[str] = "aef"
    idea: ClassVar[str] = "feature steps and AEF weights, then detector poison in weak pixels"
    inner: int = 3
    diversity: float = 0.5
    threshold: float = 0.040
    decay: float = 5.0
    poison_steps: int = 50
    tau: float = 0.1
    beta: float = 0.9

    def __post_init__(self) -> None:
        if self.poison_steps < 0:
            raise BadInput(f"poison_steps is out of range: {self.poison_steps}, must be 0 or more")
        if not self.threshold > 0:
            raise BadInput(f"threshold is out of range: {self.threshold}, must be positive")

    def cost(self, zoo: Zoo) -> float:
        return 1 + FEATURE_STEP * self.inner

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = super().loop(config, n, zoo)
        return replace(plain, feature_steps=self.inner, feature_weight=0.3, momentum=0.8,
                       feature_distance="mse", diversity=self.diversity, universal=True,
                       steps=plain.steps + self.poison_steps)  # fmt: skip

    def weighting(self) -> Weighting:
        return AEF(self.tau, self.beta)

    def steps(
        self,
        problem: Problem,
        config: PerturbationConfig,
        state: State | None = None,
        execution: Execution = PLAIN,
    ) -> Iterator[State]:
        if self.poison_steps:
            refuse_budget(self.name, problem)
        interrupting = replace(config, steps=config.steps - self.poison_steps)
        if state is None or "interruption" not in state.extra:
            for state in super().steps(problem, interrupting, state, execution):  # noqa: B020
                yield state
        if self.poison_steps:
            yield from self._poison(problem, config, state, execution)

    def _poison(
        self, problem: Problem, config: PerturbationConfig, state: State, execution: Execution
    ) -> Iterator[State]:
        """The second stage: the same loop, another target, in the room the first one leaves."""
        if "interruption" not in state.extra:
            nothing = torch.zeros_like(state.delta)
            state = replace(state, delta=nothing, velocity=nothing.clone(), rule={},
                            extra={"interruption": state.delta.clone()})  # fmt: skip
        first = state.extra["interruption"].to(problem.device)
        room = Separated(first, self.threshold * config.eps / 0.05, self.decay)
        from aef_core.methods.poisoning import DETECTION, detection_target  # slow to import

        detector = replace(problem, zoo=detection_target(problem.device), budget=room,
                           objective=DETECTION)  # fmt: skip
        # theta is scaled down by M, up to exp(-5 * 0.04) = 0.82; steps of a tenth of the box
        loop = replace(config, feature_steps=0, diversity=0.0, step_size=0.1 * config.eps)
        for moved in perturb(detector, Uniform(), loop, state, execution):
            moved.cosines = moved.cosines[: config.steps - self.poison_steps]
            if moved.step == config.steps:
                moved = replace(moved, delta=room.decode(moved.delta))
            yield moved
