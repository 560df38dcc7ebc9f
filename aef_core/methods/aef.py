"""AEF, the paper's method: the loop with weights that follow the strengths."""

from dataclasses import dataclass, replace
from typing import ClassVar

from aef_core.methods.base import FEATURE_STEP, Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.weighting import AEF as AEFRule
from aef_core.weighting import Weighting


@dataclass
class AEF(Method):
    """Adaptive Equilibrium: weights that follow the losses.

    Formula: w = softmax(-E / tau), E <- beta E + (1 - beta) S, for the next batch, on S with its
    feature term (lam 0.3). Source: AEF (arXiv 2605.00443); see `weighting.AEF`.

    Parameters
    ----------
    tau : float, > 0
        Temperature in units of S. Paper 0.1.
    beta : float, in [0, 1)
        Memory. Paper 0.9.
    feature_weight : float, in [0, 1], optional
        lam, the share of the feature term in S; the config's (0.3) if not given. 0 pushes outputs
        alone, as most methods here do.
    inner : int, optional
        Feature steps before each step; the config's (none) if not given, and then not charged to
        the method. The TSDF code that AEF grew out of has 3; which part of AEF's text speaks of
        them is not public.
    """

    name: ClassVar[str] = "aef"
    rule: ClassVar[str] = "aef"
    idea: ClassVar[str] = "softmax weights of the smoothed losses, least interrupted first"
    tau: float = 0.1
    beta: float = 0.9
    feature_weight: float | None = None
    inner: int | None = None

    def cost(self, zoo: Zoo) -> float:
        return 1 + FEATURE_STEP * (self.inner or 0)

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        own = {"feature_weight": self.feature_weight, "feature_steps": self.inner}
        given = {name: value for name, value in own.items() if value is not None}
        return replace(super().loop(config, n, zoo), **given)

    def weighting(self) -> Weighting:
        return AEFRule(self.tau, self.beta)
