"""Rules that see strengths and have no memory: the less interrupted now, the more weight.

Strengths S_k are to be maximised; where a source
minimises losses L_k, read L_k = -S_k (or 1 / S_k where it needs them positive; it says so).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import (
    Feedback,
    Weighting,
    normalise,
    per_generator,
    positive_floats,
    uniform,
)


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

    Formula: q_k = min(1, S_k / target), w_k proportional to (1 - q_k)^gamma.
    Source: focal loss (Lin et al., ICCV 2017, arXiv 1708.02002), there (1 - p)^gamma on a class
    probability p; gamma 2.

    Parameters
    ----------
    target : float, > 0
        Strength that counts as interrupted, in units of S. 0.05 is CMUA's success threshold.
    gamma : float, >= 0
        Focus; 0 is averaging.

    Departs from the paper: S_k / target stands for the probability; the factor -log p and the
    class prior alpha are left out (`kpi-focal` has the logarithm). All interrupted: uniform.
    """

    name = "focal"
    target: float = 0.05
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not self.target > 0:
            raise BadInput(f"target must be positive, got {self.target}")
        if not self.gamma >= 0:
            raise BadInput(f"gamma must be 0 or more, got {self.gamma}")

    def __call__(self, feedback: Feedback) -> Tensor:
        return normalise((1 - feedback.strength / self.target).clamp_min(0) ** self.gamma)


@dataclass
class OHEM(Weighting):
    """Online hard example mining over generators: only the least interrupted ones count.

    Formula: w_k = 1 / keep for the `keep` smallest S_k, else 0; equal strengths share. `keep` 1 is
    the subgradient of min_k S_k, 2 of 4 that of the conditional value at risk at level 0.5.
    Source: OHEM (Shrivastava et al., CVPR 2016, arXiv 1604.03540), there over regions.

    Parameters
    ----------
    keep : int, >= 1
        Generators that count; all of them if there are fewer.
    """

    name = "ohem"
    keep: int = 1

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise BadInput(f"keep must be 1 or more, got {self.keep}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        keep = min(self.keep, len(s))
        last = s.sort().values[keep - 1]
        below, ties = (s < last).to(s), (s == last).to(s)
        return (below + ties * (keep - below.sum()) / ties.sum()) / keep


@dataclass
class STCH(Weighting):
    """Smooth Tchebycheff: a soft maximum over generators of the distance to their ideal strength.

    Formula: minimise mu log sum_k exp(lam_k (ideal_k - S_k) / mu), lam_k = 1 / K. Its gradient is
    that of sum_k w_k S_k with w = softmax((ideal - S) / (K mu)): with equal ideals, AEF without
    memory and with tau = K mu.
    Source: Lin et al., ICML 2024 (arXiv 2402.19078); same form and lam as TorchJD's STCH.

    Parameters
    ----------
    mu : float, > 0
        Smoothing in units of S / K; the paper tries 0.01, 0.1, 0.5 and 1.
    ideal : tuple of K floats
        The best strength each generator could have, e.g. its single-model reference; empty: the
        same for all.
    """

    name = "stch"
    mu: float = 0.01
    ideal: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.mu > 0:
            raise BadInput(f"mu must be positive, got {self.mu}")
        self.ideal = positive_floats(self.ideal, "ideal")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        missing = per_generator(self.ideal, s, "ideal") - s
        return torch.softmax(missing / (len(s) * self.mu), dim=0)


@dataclass
class KPIFocal(Weighting):
    """ID-Guard's dynamic weights: focal in a key performance indicator of each generator.

    Formula: l_k = clip(S_k, 1e-13, 1), w_k proportional to -prior_k (1 - l_k)^gamma log l_k.
    Source: ID-Guard (TPAMI 2025; github.com/ZOMIN28/ID-Guard, strategy/), after the KPI focal loss
    of Guo et al. (ECCV 2018); gamma 1, l_k its masked output loss, priors StarGAN 1, AGGAN 10,
    HiSD 100.

    Parameters
    ----------
    gamma : float, >= 0
    prior : tuple of K positive_floats, > 0
        Fixed factors; empty: ones, since the published ones are tuned to its own generators.

    Departs from the code: S_k stands for the masked loss; weights are scaled to sum 1.
    """

    name = "kpi-focal"
    gamma: float = 1.0
    prior: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise BadInput(f"gamma must be 0 or more, got {self.gamma}")
        self.prior = positive_floats(self.prior, "prior")

    def __call__(self, feedback: Feedback) -> Tensor:
        kpi = feedback.strength.clamp(1e-13, 1)
        prior = per_generator(self.prior, kpi, "prior")
        return normalise(-prior * (1 - kpi) ** self.gamma * kpi.log())
