"""AEF's rule, the paper's: softmax weights from a moving average of the strengths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.registry import setting
from aef_core.weighting.base import Feedback, Weighting


@dataclass
class AEF(Weighting):
    """Adaptive Equilibrium: the least interrupted generator gets the largest weight.

    Formula: w = softmax(-E / tau), then E_k <- beta E_k + (1 - beta) S_k, from E_k = 0. So this
    batch sets the weights of the next, and the first weights are equal. The same w solves
    min_w <w, E> - tau H(w) over the simplex, H the entropy: max-min, smoothed.
    Source: AEF (arXiv 2605.00443); constants, moving average and order from the authors' TSDF code
    (github.com/vpsg-research/TSDF, train.py), no AEF code being public.
    """

    name = "aef"
    tau: float = setting(0.1, "positive")  # units of S: a difference of tau is a factor e in weight
    beta: float = setting(0.9, "in [0, 1)")  # memory of the moving average

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        average = self.state.get("ema", torch.zeros_like(s)).to(s)
        self.state = {"ema": self.beta * average + (1 - self.beta) * s}
        return torch.softmax(-average / self.tau, dim=0)
