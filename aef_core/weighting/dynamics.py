"""Rules that see strengths and have a memory: rates, multipliers, thresholds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.registry import setting
from aef_core.weighting.base import Feedback, Weighting, normalise, uniform


@dataclass
class DWA(Weighting):
    """Dynamic weight average: generators whose strength grows slowly get more weight.

    Formula: w = softmax(r / temperature), r_k = S_k(t-2) / S_k(t-1) of the mean strengths of the
    last two epochs; uniform until there are two.
    Source: Liu et al., CVPR 2019 (arXiv 1803.10704), temperature 2. Its losses fall where strengths
    grow, so L_k = 1 / S_k here; its weights sum to K.
    """

    name = "dwa"
    temperature: float = setting(2.0, "positive")
    epoch: int = setting(8, "1 or more")  # steps; 8 batches of 8 are one pass over 64 faces

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        zero = torch.zeros_like(s)
        m = self.state or {"steps": torch.tensor(0), "sum": zero, "older": zero, "newer": zero}
        steps = int(m["steps"])
        if steps and steps % self.epoch == 0:
            m = m | {"older": m["newer"], "newer": m["sum"] / self.epoch, "sum": zero}
        self.state = m | {"steps": torch.tensor(steps + 1), "sum": m["sum"] + s}
        if steps < 2 * self.epoch:
            return uniform(s)
        rate = (m["older"] + 1e-30) / (m["newer"] + 1e-30)  # 1 where both are zero
        return torch.softmax(rate / self.temperature, dim=0)


@dataclass
class APGDA(Weighting):
    """Min-max with a quadratic regulariser: projected gradient steps on the weights.

    Formula: min_w <w, S> + (gamma / 2) |w - 1/K|^2 over the simplex, one step a call:
    w <- Proj(w - (S + gamma (w - 1/K)) / beta), from w = 1/K. gamma does what tau does in AEF.
    Source: Wang et al., NeurIPS 2021 (arXiv 1906.03563; github.com/wangjksjtu/minmax-adv), whose
    beta 50 and gamma 3 to 4 belong to losses of 0 to 50: with S below 0.5, w would stay uniform.
    """

    name = "apgda"
    beta: float = setting(1.0, "positive")  # inverse step size, in units of S
    gamma: float = 0.1  # in [0, beta]: pull towards uniform, in units of S

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma <= self.beta:
            raise BadInput(f"gamma must be in [0, beta] or w overshoots, got {self.gamma}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        w = self.state.get("weights", uniform(s)).to(s)
        w = project_simplex(w - (s + self.gamma * (w - 1 / len(s))) / self.beta)
        self.state = {"weights": w}
        return w


def project_simplex(v: Tensor) -> Tensor:
    """The point of the simplex nearest to v, shape [K], by sorting (Duchi et al., ICML 2008)."""
    v = v - v.max()  # the projection ignores a common shift; this keeps huge entries exact
    ordered = v.sort(descending=True).values
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(v) + 1).to(v)
    shift = excess[(ordered > excess).sum() - 1]
    return normalise((v - shift).clamp_min(0))


@dataclass
class ExponentiatedGradient(Weighting):
    """Multiplicative weights (Hedge): the less a generator was interrupted so far, the more weight.

    Formula: w_k <- w_k exp(-rate S_k), scaled to sum 1: w = softmax(-rate sum_t S). The averages of
    such weights reach the equilibrium of a game; the last ones may circle around it.
    Source: Kivinen & Warmuth 1997; Freund & Schapire 1999.
    """

    name = "exp-grad"
    rate: float = setting(1.0, "positive")  # per unit of S and step; the sources leave it open

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        logits = self.state.get("logits", torch.zeros_like(s)).to(s) - self.rate * s
        self.state = {"logits": logits - logits.max()}
        return torch.softmax(logits, dim=0)


@dataclass
class DWTThreshold(Weighting):
    """The threshold rule of the DWT defence: from time to time a little more for one generator.

    Formula: from w = 1/K; every `every` steps the first generator, in the order of the zoo, whose
    output PSNR 10 log10(4 / MSE) is still above `threshold_db` gets +0.05, all others -0.005; then
    clip at 0 and scale to sum 1. One generator that never breaks starves those after it.
    Source: see `methods.dwt`; there three generators from (0.3, 0.4, 0.3), every 5 epochs, which
    would be longer than a whole run here.
    """

    name = "dwt-threshold"
    threshold_db: float = 20.0  # 20 dB: an MSE of 0.04 in [-1, 1] units
    every: int = setting(5, "1 or more")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        mse = s if feedback.output_mse is None else feedback.output_mse
        w = self.state.get("weights", uniform(s)).to(s)
        steps = int(self.state.get("steps", 0)) + 1
        intact = (mse < 4 * 10 ** (-self.threshold_db / 10)).nonzero().flatten().tolist()
        if steps % self.every == 0 and intact:
            change = torch.full_like(w, -0.005)
            change[intact[0]] = 0.05
            w = normalise((w + change).clamp_min(0))
        self.state = {"weights": w, "steps": torch.tensor(steps)}
        return w
