"""Weighting rules: from what each generator feels now to how much each counts in the next step.

A rule sees one `Feedback` a step and returns weights on the simplex. It knows nothing of images or
networks, so swapping rules is one argument, and adding one is one class and one row in `RULES`.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Feedback:
    """What the generators report at one step, in the order of the zoo.

    Attributes
    ----------
    strength : Tensor, shape [K], float64, >= 0
        Interruption strength S_k of each generator; larger means more disturbed.
    grad_l1 : Tensor, shape [K], float64, >= 0
        Mean absolute value of the gradient of S_k with respect to the perturbation.
    """

    strength: Tensor
    grad_l1: Tensor


@dataclass
class Weighting:
    """Base of all rules: settings are dataclass fields, state is what `state_dict` returns.

    Calling a rule with a `Feedback` returns weights, shape [K], >= 0, sum 1, and moves its state.
    """

    name: ClassVar[str]

    def __call__(self, feedback: Feedback) -> Tensor:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Hyper-parameters, for the run's config."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def state_dict(self) -> dict[str, Tensor]:
        """State to resume from; empty for rules without memory."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state_dict`."""

    def reset(self) -> None:
        """Forget everything seen."""


@dataclass
class Uniform(Weighting):
    """Plain averaging: every generator counts the same, so large gradients decide.

    Formula: w_k = 1 / K. Source: CMUA's premise and the AEF paper's Fig. 1 (a).
    """

    name = "uniform"

    def __call__(self, feedback: Feedback) -> Tensor:
        return torch.full_like(feedback.strength, 1 / len(feedback.strength))


@dataclass
class GradNorm(Weighting):
    """Static gradient normalisation: every generator pushes with the same gradient mass.

    Formula: g = mean_k g_k / mean|g_k|, that is w_k proportional to 1 / mean|g_k| (the sign step
    that follows ignores the common factor). Source: stage 2 of FOUND (arXiv 2303.00200), the
    "static" strategy that AEF (arXiv 2605.00443) argues against. Not the GradNorm of Chen et al.
    (ICML 2018), which learns its weights.

    A generator without any gradient cannot be moved; it gets the weight zero instead of all.
    """

    name = "grad-norm"

    def __call__(self, feedback: Feedback) -> Tensor:
        g = feedback.grad_l1
        inverse = torch.where(g > 0, 1 / g.clamp_min(torch.finfo(g.dtype).tiny), 0.0)
        if inverse.sum() == 0:
            return torch.full_like(g, 1 / len(g))
        inverse = inverse / inverse.max()  # before the sum: 1 / tiny would overflow
        return inverse / inverse.sum()


@dataclass
class AEF(Weighting):
    """Adaptive Equilibrium: the least interrupted generator gets the largest weight.

    Formula: E_k <- beta E_k + (1 - beta) S_k from E_k = 0, then w = softmax(-E / tau).
    Equivalently, w solves min_w <w, E> - tau H(w) over the simplex: entropy-smoothed max-min.
    Source: AEF (arXiv 2605.00443); constants and EMA from the authors' TSDF code
    (github.com/vpsg-research/TSDF, train.py), no AEF code being public.

    Parameters
    ----------
    tau : float, > 0
        Temperature, in units of S: a difference of tau in S is a factor e in weight. Paper 0.1.
        With all S far below tau the rule *is* averaging.
    beta : float, in [0, 1)
        Memory of the moving average. Paper 0.9.

    Departs from the published code by one step: there the weights of this step act in the next,
    because they are needed before its only backward pass. Here they act at once.
    """

    name = "aef"
    tau: float = 0.1
    beta: float = 0.9
    _ema: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau must be positive, got {self.tau}")
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must be in [0, 1), got {self.beta}")

    def __call__(self, feedback: Feedback) -> Tensor:
        s = feedback.strength
        previous = torch.zeros_like(s) if self._ema is None else self._ema.to(s)
        self._ema = self.beta * previous + (1 - self.beta) * s
        return torch.softmax(-self._ema / self.tau, dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self._ema is None else {"ema": self._ema}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._ema = state.get("ema")

    def reset(self) -> None:
        self._ema = None


RULES: dict[str, type[Weighting]] = {
    "uniform": Uniform,
    "grad-norm": GradNorm,
    "aef": AEF,
}


def make_rule(name: str, **settings: Any) -> Weighting:
    """A fresh rule by name.

    Raises
    ------
    ValueError
        Unknown rule, unknown setting or a setting out of range; the message lists what is known.
    """
    if name not in RULES:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(RULES)}")
    known = [f.name for f in fields(RULES[name]) if f.init]
    for setting in settings:
        if setting not in known:
            has = ", ".join(known) or "none"
            raise ValueError(f"method {name!r} has no setting {setting!r}; it has: {has}")
    return RULES[name](**settings)
