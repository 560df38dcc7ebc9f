"""AEF, the paper's method, and max-min, ours: the equilibrium that AEF aims at."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from aef_core.methods.base import FEATURE_STEP, Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.weighting import AEF as AEFRule
from aef_core.weighting import MaxMin as MaxMinRule
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


@dataclass
class MaxMin(Method):
    """Ours: the equilibrium AEF aims at, relative to what each generator could be interrupted.

    Formula: max_d min_k S_k(d) / c_k by a proportional-integral controller on log(S_k / c_k); see
    `weighting.MaxMin`. On output MSEs alone, which is what L2_mask judges. Source: this companion.

    Parameters
    ----------
    single_model : tuple of K floats
        c_k, the output MSE that a perturbation for each generator alone reaches, in the order of
        the zoo; empty: a running estimate from the gradients.
    balance, rate, gain, memory, share
        Of the rule, see `weighting.MaxMin`.
    """

    name: ClassVar[str] = "max-min"
    rule: ClassVar[str] = "max-min"
    idea: ClassVar[str] = "ours: worst case relative to single-model references, with integral"
    single_model: tuple[float, ...] = ()
    balance: str = "output"
    rate: float = 0.1
    gain: float = 5.0
    memory: float = 0.5
    share: float = 0.01

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(config, feature_steps=0, feature_weight=0.0, momentum=0.8, universal=True)

    def settings(self) -> dict[str, Any]:
        return self.weighting().settings()

    def weighting(self) -> Weighting:
        return MaxMinRule(**asdict(self))
