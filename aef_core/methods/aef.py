"""AEF, the paper's method, and max-min, ours: the equilibrium that AEF aims at."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aef_core.methods.base import FEATURE_STEP, OUTPUTS_ALONE, Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo


@dataclass
class AEF(Method):
    """Adaptive Equilibrium: weights that follow the losses.

    Formula: w = softmax(-E / tau), E <- beta E + (1 - beta) S, for the next batch, on S with its
    feature term (lam 0.3). Source: AEF (arXiv 2605.00443); see `weighting.aef`.

    Parameters
    ----------
    tau, beta : float
        Temperature in units of S, > 0, and memory, in [0, 1). Paper 0.1 and 0.9.
    feature_weight : float, in [0, 1], optional
        lam, the share of the feature term in S; the config's (0.3) if not given. 0 pushes outputs
        alone, as most methods here do.
    inner : int, optional
        Feature steps before each step; the config's (none) if not given. The TSDF code that AEF
        grew out of has 3; whether AEF has them is not public.
    """

    name = "aef"
    rule = "aef"
    idea = "softmax weights of the smoothed losses, least interrupted first"
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


@dataclass
class MaxMin(Method):
    """Ours: the equilibrium AEF aims at, relative to what each generator could be interrupted.

    Formula: max_d min_k S_k(d) / c_k by a proportional-integral controller on log(S_k / c_k), on
    output MSEs alone, which is what L2_mask judges. Source: this companion; `weighting.maxmin`
    explains every setting.

    Parameters
    ----------
    single_model : tuple of K floats
        c_k, the output MSE that a perturbation for each generator alone reaches, in the order of
        the zoo; empty: a running estimate from the gradients.
    """

    name = "max-min"
    rule = "max-min"
    idea = "ours: worst case relative to single-model references, with integral"
    fixed: ClassVar = OUTPUTS_ALONE | {"momentum": 0.8}
    single_model: tuple[float, ...] = ()
    balance: str = "output"
    rate: float = 0.1
    gain: float = 5.0
    memory: float = 0.5
    share: float = 0.01

    def settings(self) -> dict[str, Any]:
        return self.weighting().settings()
