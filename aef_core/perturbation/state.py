"""What the loop is set to, and where it stands."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.objective import FEATURE_DISTANCES, seeded
from aef_core.registry import check_types


@dataclass(frozen=True)
class PerturbationConfig:
    """Settings of the loop; images and perturbation are in [-1, 1] units throughout.

    Defaults are the constants of the authors' published TSDF code unless said otherwise.
    """

    eps: float = 0.05  # bound on |delta|; 0.05 here is 6.4 of 255
    step_size: float = 1e-3
    momentum: float = 0.8
    steps: int = 480  # plain steps, or as many of a costlier method as take the same computation
    batch: int = 8
    feature_weight: float = 0.3  # lam: share of the feature term in S_k
    feature_steps: int = 0  # sign steps on features alone before each step (TSDF: 3)
    feature_distance: str = "mse"  # what those steps maximise: "mse" (TSDF), "wasserstein" (FOUND)
    normalise: str = "sum"  # a step divides by mean|sum_k w_k g_k| (TSDF); "each": by sum_k w_k
    # mean|g_k|, with FOUND's weights the mean of normalised gradients, smaller where they disagree
    diversity: float = 0.0  # chance of a random resize-and-pad (TSDF: 0.5, on one side only)
    universal: bool = True  # False: one perturbation per image
    init: float = 1.0  # start uniform in +-init * eps: at zero the gradient vanishes
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        distances = ", ".join(FEATURE_DISTANCES)
        checks = {
            "eps": (0 < self.eps <= 2, "in (0, 2]"),
            "step_size": (self.step_size > 0, "positive"),
            "momentum": (0 <= self.momentum <= 1, "in [0, 1]"),
            "steps": (self.steps >= 1, "at least 1"),
            "batch": (self.batch >= 1, "at least 1"),
            "feature_weight": (0 <= self.feature_weight <= 1, "in [0, 1]"),
            "feature_steps": (self.feature_steps >= 0, "0 or more"),
            "diversity": (0 <= self.diversity <= 1, "in [0, 1]"),
            "feature_distance": (self.feature_distance in FEATURE_DISTANCES, f"one of {distances}"),
            "normalise": (self.normalise in ("sum", "each"), "one of sum, each"),
            "seed": (0 <= self.seed < 2**63, "in [0, 2^63)"),
            "init": (0 < self.init <= 1, "in (0, 1]"),
        }
        for name, (ok, wanted) in checks.items():
            if not ok:
                raise BadInput(f"{name} is out of range: {getattr(self, name)}, must be {wanted}")


@dataclass
class State:
    """All that a step changes; enough to continue to the very same bits."""

    delta: Tensor  # [1 or N, 3, H, W], or what the budget of the run moves instead
    velocity: Tensor  # same shape
    step: int = 0
    rule: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # one row per step and generator
    cosines: list[list[list[float]]] = field(default_factory=list)  # one K x K table per step
    extra: dict[str, Tensor] = field(default_factory=dict)  # what a method keeps beyond the loop


def initial_state(images: Tensor, config: PerturbationConfig, budget: Budget = BOX) -> State:
    """A random start within the box; drawn on the CPU, so equal on every device."""
    shape = (1 if config.universal else len(images), *budget.shape(images))
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(config.seed)) * 2 - 1
    delta = budget.project((noise * config.eps * config.init).to(images), config.eps)
    return State(delta, torch.zeros_like(delta))


def batch_rows(n: int, step: int, config: PerturbationConfig) -> Tensor:
    """Rows of the faces seen at a step: a fresh shuffle each epoch, from (seed, epoch) alone."""
    per_epoch = math.ceil(n / config.batch)
    epoch, position = divmod(step, per_epoch)
    order = torch.randperm(n, generator=seeded(config.seed, f"shuffle {epoch}"))
    return order[position * config.batch : (position + 1) * config.batch]
