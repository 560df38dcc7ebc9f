"""The paper's rule: a softmax of the smoothed strengths, least interrupted generator first."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import Feedback, Weighting


@dataclass
class AEF(Weighting):
    """Adaptive Equilibrium: the least interrupted generator gets the largest weight.

    Formula: w = softmax(-E / tau), then E_k <- beta E_k + (1 - beta) S_k, from E_k = 0: what this
    batch shows acts in the next, the first weights are equal. So in the published code, which needs
    the weights before its only backward pass.
    Equivalently, w solves min_w <w, E> - tau H(w) over the simplex: entropy-smoothed max-min.
    Source: AEF (arXiv 2605.00443); constants and EMA from the authors' TSDF code
    (github.com/vpsg-research/TSDF, train.py), no AEF code being public.

    Parameters
    ----------
    tau : float, > 0
        Temperature, in units of S: a difference of tau in S is a factor e in weight. TSDF's code:
        0.1. With all S far below tau the rule *is* averaging.
    beta : float, in [0, 1)
        Memory of the moving average. TSDF's code 0.9.
    """

    name = "aef"
    tau: float = 0.1
    beta: float = 0.9
    _ema: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise BadInput(f"tau must be positive, got {self.tau}")
        if not 0 <= self.beta < 1:
            raise BadInput(f"beta must be in [0, 1), got {self.beta}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        previous = torch.zeros_like(s) if self._ema is None else self._ema.to(s)
        self._ema = self.beta * previous + (1 - self.beta) * s
        return torch.softmax(-previous / self.tau, dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self._ema is None else {"ema": self._ema}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._ema = state.get("ema")

    def reset(self) -> None:
        self._ema = None
