"""FOUND, AEF and the max-min solver: the loop with a rule, after steps on features or without."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aef_core.methods.base import Method
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo

FEATURE_STEP = 0.6  # cost of a step on features alone: the encoders are the larger half


@dataclass
class FOUND(Method):
    """Feature ensemble, then gradient ensemble.

    Formula: `inner` steps d <- clip(d + 1e-3 sign(g)) that maximise the 1-Wasserstein distance
    between the pooled features of all generators before and after (at most 32 x 32, summed over
    channels and generators), then g = mean_k g_k / mean|g_k| of the output MSEs,
    m <- g + 0.8 m, d <- clip(d + 1e-3 sign(m)).
    Source: FOUND (arXiv 2303.00200; ACM TOMM 21(2) 2024, doi 10.1145/3653457); steps and constants
    from its descendant CRBP (github.com/hyy0731-zzz/CRBP). Paper settings there: 5 inner steps, 50
    epochs, step 1e-3, start uniform in the box, input diversity 0.5.

    Parameters
    ----------
    inner : int
        Feature steps before each step.
    diversity : float
        Chance of a random resize of the protected image (not of its reference).

    Departs from CRBP's code, which computes its "Wasserstein" as the mean product of the two maps:
    here it is the distance, by sorting, as the paper's abstract says. FOUND's own code is not
    public; "individual-feature maintenance" is therefore left out.
    """

    name: ClassVar[str] = "found"
    rule: ClassVar[str] = "grad-norm"
    idea: ClassVar[str] = "a stage on features, then gradients of equal mass"
    inner: int = 5
    diversity: float = 0.5

    def cost(self, zoo: Zoo) -> float:
        return 1 + FEATURE_STEP * self.inner

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(super().loop(config, n, zoo), feature_steps=self.inner, feature_weight=0.0,
                       feature_distance="wasserstein", momentum=0.8, normalise="each",
                       diversity=self.diversity, universal=True)  # fmt: skip


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
    feature_weight : float, in [0, 1]
        lam, the share of the feature term in S. 0 pushes outputs alone, as most methods here do.
    inner : int
        Feature steps before each step. The TSDF code that AEF grew out of has 3; which part of
        AEF's text speaks of them is not public, so they are off by default.
    """

    name: ClassVar[str] = "aef"
    rule: ClassVar[str] = "aef"
    idea: ClassVar[str] = "softmax weights of the smoothed losses, least interrupted first"
    tau: float = 0.1
    beta: float = 0.9
    feature_weight: float = 0.3
    inner: int = 0

    def cost(self, zoo: Zoo) -> float:
        return 1 + FEATURE_STEP * self.inner

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(super().loop(config, n, zoo), feature_steps=self.inner,
                       feature_weight=self.feature_weight, feature_distance="mse", momentum=0.8,
                       universal=True)  # fmt: skip

    def rule_settings(self) -> dict[str, Any]:
        return {"tau": self.tau, "beta": self.beta}


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
    """

    name: ClassVar[str] = "max-min"
    rule: ClassVar[str] = "max-min"
    idea: ClassVar[str] = "ours: worst case relative to single-model references, with integral"
    single_model: tuple[float, ...] = ()

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(config, feature_steps=0, feature_weight=0.0, momentum=0.8, universal=True)

    def rule_settings(self) -> dict[str, Any]:
        return {"single_model": tuple(self.single_model)}
