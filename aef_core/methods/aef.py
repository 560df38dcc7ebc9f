"""AEF, the paper's method, and max-min, ours: the equilibrium that AEF aims at."""

from dataclasses import dataclass

from aef_core.methods.base import OUTPUTS_ALONE, Method
from aef_core.registry import setting


@dataclass
class AEF(Method):
    """Adaptive Equilibrium: weights that follow the losses.

    Formula: w = softmax(-E / tau), E <- beta E + (1 - beta) S, for the next batch, with S =
    (1 - lam) output MSE + lam feature MSE. Source: AEF (arXiv 2605.00443); see `weighting.aef`.

    `feature_weight` is lam, `inner` the feature steps before each step; None leaves them to the
    config (0.3 and none). The TSDF code that AEF grew out of has 3; whether AEF has is not public.
    """

    name = "aef"
    rule = "aef"
    tau: float = 0.1  # temperature, in units of S
    beta: float = 0.9  # memory of E
    feature_weight: float | None = None  # 0 pushes outputs alone, as most methods here do
    inner: int | None = None


@dataclass
class MaxMin(Method):
    """Ours: the equilibrium AEF aims at, relative to what each generator could be interrupted.

    Formula: max_d min_k S_k(d) / c_k by a proportional-integral controller on log(S_k / c_k), S_k
    the output MSE, which L2_mask judges; c_k is what a perturbation for generator k alone reaches,
    or a running estimate from its gradients. Source: this companion; see `weighting.maxmin`.
    """

    name = "max-min"
    rule = "max-min"
    fixed = OUTPUTS_ALONE | {"momentum": 0.8}
    single_model: tuple[float, ...] = setting((), "positive numbers, one per generator")  # c_k
    balance: str = "output"
    rate: float = 0.1
    gain: float = 5.0
    memory: float = 0.5
    share: float = 0.01
