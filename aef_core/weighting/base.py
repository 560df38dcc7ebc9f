"""What a weighting rule sees, what it returns, and the helpers that keep weights on the simplex."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.registry import Settings


@dataclass(frozen=True)
class Feedback:
    """What the generators report at one step: float64 tensors in the order of the zoo."""

    strength: Tensor  # [K], >= 0: interruption strength S_k, larger means more disturbed
    grad_l1: Tensor  # [K], >= 0: mean |g_k|, g_k the gradient of S_k in the perturbation
    gramian: Tensor | None = None  # [K, K]: <g_i, g_j>, which only rules of `gradients.py` need
    output_mse: Tensor | None = None  # [K], >= 0: output term of S_k, which is what metrics judge
    feature_mse: Tensor | None = None  # [K], >= 0: feature term of S_k


@dataclass
class Weighting(Settings):
    """Base of all rules: settings are dataclass fields, `state` is the memory, empty at the start.

    Calling a rule with a `Feedback` returns weights, shape [K], >= 0, sum 1, and updates `state`.
    `solver_failed` says whether the last weights are equal because a solver found none. A setting
    out of range raises ValueError.
    """

    name: ClassVar[str]
    solver_failed = False
    state: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, feedback: Feedback) -> Tensor:
        raise NotImplementedError


def uniform(like: Tensor) -> Tensor:
    """1 / K for each of the K entries, shape [K]."""
    return torch.full_like(like, 1 / len(like))


def normalise(weights: Tensor) -> Tensor:
    """Non-negative numbers, shape [K], scaled to sum 1; uniform if they are all zero."""
    largest = weights.max()
    if not largest > 0:
        return uniform(weights)
    weights = weights / largest  # before the sum, which could overflow
    return weights / weights.sum()


def per_generator(values: tuple[float, ...], default: Tensor, what: str) -> Tensor:
    """A per-generator setting as a tensor like `default`, [K] (ValueError if not K long)."""
    if values and len(values) != len(default):
        raise BadInput(f"{what} has {len(values)} entries for {len(default)} generators")
    return torch.tensor(values).to(default) if values else default
