"""What a weighting rule sees, what it returns, and the helpers that keep weights on the simplex."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from aef_core.errors import BadInput


@dataclass(frozen=True)
class Feedback:
    """What the generators report at one step, in the order of the zoo.

    Attributes
    ----------
    strength : Tensor, shape [K], float64, >= 0
        Interruption strength S_k of each generator; larger means more disturbed.
    grad_l1 : Tensor, shape [K], float64, >= 0
        Mean absolute value of the gradient of S_k with respect to the perturbation.
    gramian : Tensor, shape [K, K], float64, optional
        Inner products <g_i, g_j> of those gradients, each flattened (with one perturbation per
        image: over the whole batch). Only rules of `gradients.py` need it.
    output_mse : Tensor, shape [K], float64, >= 0, optional
        The output term of S_k alone, which is what the metrics judge; `max-min` can balance it.
    """

    strength: Tensor
    grad_l1: Tensor
    gramian: Tensor | None = None
    output_mse: Tensor | None = None


@dataclass
class Weighting:
    """Base of all rules: settings are dataclass fields, state is what `state_dict` returns.

    Calling a rule with a `Feedback` returns weights, shape [K], >= 0, sum 1, and moves its state.

    Attributes
    ----------
    solver_failed : bool
        Whether the last weights are equal because a solver found none; always False for rules
        without a solver. A run's history has it for every step.
    """

    name: ClassVar[str]
    solver_failed = False

    def __call__(self, feedback: Feedback) -> Tensor:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Hyper-parameters, for the run's config."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def state_dict(self) -> dict[str, Tensor]:
        """The memory, to resume from; empty for rules without one."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state_dict`."""

    def reset(self) -> None:
        """Back to the state before the first step."""


@dataclass
class Stateful(Weighting):
    """A rule whose memory is one dict of tensors, empty before the first step."""

    _memory: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._memory)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._memory = dict(state)

    def reset(self) -> None:
        self._memory = {}


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


def positive_floats(values: Iterable[float], what: str) -> tuple[float, ...]:
    """A per-generator setting as a tuple, every entry positive and finite (ValueError if not)."""
    numbers = tuple(float(v) for v in values)
    if not all(0 < v < math.inf for v in numbers):
        raise BadInput(f"{what} must be positive numbers, one per generator, got {numbers}")
    return numbers


def per_generator(values: tuple[float, ...], like: Tensor, what: str) -> Tensor:
    """A per-generator setting as a tensor, shape [K]; an empty setting means all ones.

    Raises
    ------
    ValueError
        The setting has another length than `like`.
    """
    if not values:
        return torch.ones_like(like)
    if len(values) != len(like):
        raise BadInput(f"{what} has {len(values)} entries for {len(like)} generators")
    return torch.tensor(values).to(like)
