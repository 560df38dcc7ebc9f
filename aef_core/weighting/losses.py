"""Rules that see strengths and have no memory: the less interrupted now, the more weight.

Strengths S_k are to be maximised. Where a source minimises losses L_k, read L_k = -S_k.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.registry import setting
from aef_core.weighting.base import Feedback, Weighting, normalise, per_generator, uniform


@dataclass
class Uniform(Weighting):
    """Plain averaging: every generator counts the same, so large gradients decide.

    Formula: w_k = 1 / K. Source: CMUA's premise and the AEF paper's Fig. 1 (a).
    """

    name = "uniform"

    def __call__(self, feedback: Feedback) -> Tensor:
        return uniform(feedback.strength)


@dataclass
class Focal(Weighting):
    """Focal weights: the nearer a generator is to being interrupted, the less it counts.

    Formula: w_k proportional to (1 - min(1, S_k / target))^gamma; uniform if all are interrupted.
    Source: focal loss (Lin et al., ICCV 2017, arXiv 1708.02002), gamma 2; here S_k / target stands
    for the class probability p, without the class prior and the factor -log p of `kpi-focal`.
    """

    name = "focal"
    target: float = setting(0.05, "positive")  # S that counts as interrupted: CMUA's threshold
    gamma: float = setting(2.0, "0 or more")  # focus; 0 is averaging

    def __call__(self, feedback: Feedback) -> Tensor:
        return normalise((1 - feedback.strength / self.target).clamp_min(0) ** self.gamma)


@dataclass
class OHEM(Weighting):
    """Online hard example mining over generators: only the least interrupted ones count.

    Formula: w_k = 1 / keep for the `keep` smallest S_k, else 0; equal strengths share. `keep` 1 is
    the subgradient of min_k S_k, 2 of 4 that of the conditional value at risk at level 0.5.
    Source: OHEM (Shrivastava et al., CVPR 2016, arXiv 1604.03540), there over regions.
    """

    name = "ohem"
    keep: int = setting(1, "1 or more")  # generators that count, at most all

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        keep = min(self.keep, len(s))
        last = s.sort().values[keep - 1]
        below, ties = (s < last).to(s), (s == last).to(s)
        return (below + ties * (keep - below.sum()) / ties.sum()) / keep


@dataclass
class STCH(Weighting):
    """Smooth Tchebycheff: a soft maximum over generators of the distance to their ideal strength.

    Formula: min_d mu log sum_k exp((ideal_k - S_k) / (K mu)), whose gradient has the weights
    w = softmax((ideal - S) / (K mu)): with equal ideals (empty) AEF without memory, tau = K mu.
    Source: Lin et al., ICML 2024 (arXiv 2402.19078); same form as TorchJD's STCH.
    """

    name = "stch"
    mu: float = setting(0.01, "positive")  # units of S / K; the paper tries 0.01, 0.1, 0.5 and 1
    ideal: tuple[float, ...] = setting((), "positive numbers, one per generator")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        missing = per_generator(self.ideal, torch.ones_like(s), "ideal") - s
        return torch.softmax(missing / (len(s) * self.mu), dim=0)


@dataclass
class KPIFocal(Weighting):
    """ID-Guard's dynamic weights: focal in a key performance indicator of each generator.

    Formula: l_k = clip(S_k, 1e-13, 1), w_k proportional to -prior_k (1 - l_k)^gamma log l_k.
    Source: ID-Guard (TPAMI 2025; github.com/ZOMIN28/ID-Guard, strategy/), after the KPI focal loss
    of Guo et al. (ECCV 2018). There l_k is its masked output loss, weights are not scaled to sum 1,
    and priors (here 1 if empty), tuned to its own generators, are StarGAN 1, AGGAN 10, HiSD 100.
    """

    name = "kpi-focal"
    gamma: float = setting(1.0, "0 or more")
    prior: tuple[float, ...] = setting((), "positive numbers, one per generator")

    def __call__(self, feedback: Feedback) -> Tensor:
        kpi = feedback.strength.clamp(1e-13, 1)
        prior = per_generator(self.prior, torch.ones_like(kpi), "prior")
        return normalise(-prior * (1 - kpi) ** self.gamma * kpi.log())
