"""Max-min, ours: the equilibrium AEF aims at, reached by a controller with an integral."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from aef_core.methods.base import Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.weighting import MaxMin as MaxMinRule
from aef_core.weighting import Weighting


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
