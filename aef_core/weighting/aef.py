"""AEF's rule: weights from a moving average of the strengths, by a softmax with a temperature."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import Feedback, Stateful


@dataclass
class AEF(Stateful):
    """Adaptive Equilibrium: the least interrupted generator gets the largest weight.

    Formula: w = softmax(-E / tau), then E_k <- beta E_k + (1 - beta) S_k, from E_k = 0. So the
    strengths of this batch change the weights of the next, and the first weights are equal, as in
    the published code, which needs the weights before its only backward pass.
    Equivalently, w solves min_w <w, E> - tau H(w) over the simplex, H the entropy: max-min,
    smoothed.
    Source: AEF (arXiv 2605.00443); constants and moving average from the authors' TSDF code
    (github.com/vpsg-research/TSDF, train.py), no AEF code being public.

    Parameters
    ----------
    tau : float, > 0
        Temperature, in units of S: a difference of tau in S is a factor e in weight. TSDF's code:
        0.1. With all S far below tau the rule *is* averaging.
    beta : float, in [0, 1)
        Memory of the moving average. TSDF's code: 0.9.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    name = "aef"
    tau: float = 0.1
    beta: float = 0.9

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise BadInput(f"tau must be positive, got {self.tau}")
        if not 0 <= self.beta < 1:
            raise BadInput(f"beta must be in [0, 1), got {self.beta}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        average = self._memory.get("ema", torch.zeros_like(s)).to(s)
        self._memory = {"ema": self.beta * average + (1 - self.beta) * s}
        return torch.softmax(-average / self.tau, dim=0)
