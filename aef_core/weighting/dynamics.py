"""Rules that see strengths and have a memory: rates, multipliers, thresholds.

All of the memory is in `state_dict`, so that a resumed run gives the same bits.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import Feedback, Stateful, normalise, uniform


@dataclass
class DWA(Stateful):
    """Dynamic weight average: generators whose strength grows slowly get more weight.

    Formula: r_k = L_k(t-1) / L_k(t-2), L_k(t) the mean of epoch t; w = softmax(r / temperature).
    Source: Liu et al., CVPR 2019 (arXiv 1803.10704); temperature 2, epochs.

    Parameters
    ----------
    temperature : float, > 0
    epoch : int, >= 1
        Steps averaged into one L_k; 8 batches of 8 are one pass over 64 faces.

    Departs from the paper: strengths grow instead of falling, so L_k = 1 / S_k, that is
    r_k = S_k(t-2) / S_k(t-1), of the mean strengths; weights sum to 1 instead of K. Uniform until
    two epochs are over, as there.
    """

    name = "dwa"
    temperature: float = 2.0
    epoch: int = 8

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise BadInput(f"temperature must be positive, got {self.temperature}")
        if self.epoch < 1:
            raise BadInput(f"epoch must be 1 or more, got {self.epoch}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        zero = torch.zeros_like(s)
        m = self._memory or {"steps": torch.tensor(0), "sum": zero, "older": zero, "newer": zero}
        steps = int(m["steps"])
        if steps and steps % self.epoch == 0:
            m = m | {"older": m["newer"], "newer": m["sum"] / self.epoch, "sum": zero}
        self._memory = m | {"steps": torch.tensor(steps + 1), "sum": m["sum"] + s}
        if steps < 2 * self.epoch:
            return uniform(s)
        rate = (m["older"] + 1e-30) / (m["newer"] + 1e-30)  # 1 where both are zero
        return torch.softmax(rate / self.temperature, dim=0)


@dataclass
class APGDA(Stateful):
    """Min-max with a quadratic regulariser: projected gradient steps on the weights.

    Formula: min_w <w, S> + (gamma / 2) |w - 1/K|^2 over the simplex; every call makes one step
    w <- Proj(w - (S + gamma (w - 1/K)) / beta), from w = 1/K. gamma does what tau does in AEF.
    Source: Wang et al., NeurIPS 2021 (arXiv 1906.03563; github.com/wangjksjtu/minmax-adv).

    Parameters
    ----------
    beta : float, > 0
        Inverse step size. gamma : float, >= 0, pull towards uniform; both in units of S.
        The paper's 50 and 3 to 4 belong to losses of 0 to 50; S is below 0.5, where they would
        leave the weights uniform, hence 1 and 0.1 here.

    Departs from the published code: it follows the formula (two of its variants have a sign
    error), and projects exactly by sorting (Duchi et al., ICML 2008) instead of bisection.
    """

    name = "apgda"
    beta: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise BadInput(f"beta must be positive, got {self.beta}")
        if not 0 <= self.gamma <= self.beta:
            raise BadInput(f"gamma must be in [0, beta] or w overshoots, got {self.gamma}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        w = self._memory.get("weights", uniform(s)).to(s)
        w = project_simplex(w - (s + self.gamma * (w - 1 / len(s))) / self.beta)
        self._memory = {"weights": w}
        return w


def project_simplex(v: Tensor) -> Tensor:
    """The point of the simplex nearest to v, shape [K] (Duchi et al., ICML 2008)."""
    v = v - v.max()  # the projection ignores a common shift; this keeps huge entries exact
    ordered = v.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(v) + 1).to(v)
    shift = excess[(ordered > excess).sum() - 1]
    return normalise((v - shift).clamp_min(0))


@dataclass
class ExponentiatedGradient(Stateful):
    """Multiplicative weights (Hedge): the less a generator was interrupted so far, the more weight.

    Formula: w_k <- w_k exp(-rate S_k), scaled to sum 1, from w = 1/K. After t steps
    w = softmax(-rate sum_t S). Source: Kivinen & Warmuth 1997; Freund & Schapire 1999, where the
    *averages* of such play reach the equilibrium; the last iterate may cycle around it.

    Parameters
    ----------
    rate : float, > 0
        Per unit of S and step. No paper setting.
    """

    name = "exp-grad"
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise BadInput(f"rate must be positive, got {self.rate}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        logits = self._memory.get("logits", torch.zeros_like(s)).to(s) - self.rate * s
        self._memory = {"logits": logits - logits.max()}
        return torch.softmax(logits, dim=0)


@dataclass
class DWTThreshold(Stateful):
    """The threshold rule of the DWT defence: from time to time a little more for one generator.

    Formula: from w = 1/K; every `every` steps the first generator, in the order of the zoo, whose
    output PSNR 10 log10(4 / MSE) is still above `threshold_db` gets +0.05, all others -0.005; then
    clip at 0 and scale to sum 1. Once all are below the threshold, weights stay.
    Source: Huang, Chen et al., JCADCG (doi 10.3724/SP.J.1089.2024-00316; code
    github.com/imagecbj/Proactive-Defense-Against-Facial-Editing-in-DWT): three generators from
    (0.3, 0.4, 0.3), every 5 epochs, 20 dB.

    Parameters
    ----------
    threshold_db : float
        20 dB is an output MSE of 0.04 in [-1, 1] units.
    every : int, >= 1
        Steps between two changes; the paper's 5 epochs would be longer than a whole run here.

    The order of the zoo matters: one generator that never breaks starves those after it. Without
    `Feedback.output_mse` the strength stands for the output MSE.
    """

    name = "dwt-threshold"
    threshold_db: float = 20.0
    every: int = 5

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold_db):
            raise BadInput(f"threshold_db must be a number, got {self.threshold_db}")
        if self.every < 1:
            raise BadInput(f"every must be 1 or more, got {self.every}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        mse = s if feedback.output_mse is None else feedback.output_mse
        w = self._memory.get("weights", uniform(s)).to(s)
        steps = int(self._memory.get("steps", 0)) + 1
        intact = (mse < 4 * 10 ** (-self.threshold_db / 10)).nonzero().flatten().tolist()
        if steps % self.every == 0 and intact:
            change = torch.full_like(w, -0.005)
            change[intact[0]] = 0.05
            w = normalise((w + change).clamp_min(0))
        self._memory = {"weights": w, "steps": torch.tensor(steps)}
        return w
