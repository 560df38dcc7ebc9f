"""What the loop is set to, and where it stands."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.objective import seeded
from aef_core.registry import Settings, setting


@dataclass(frozen=True)
class PerturbationConfig(Settings):
    """Settings of the loop; images and perturbation are in [-1, 1] units throughout.

    Defaults are the constants of the authors' published TSDF code unless said otherwise.
    """

    eps: float = setting(0.05, "in (0, 2]")  # bound on |delta|; 0.05 here is 6.4 of 255
    step_size: float = setting(1e-3, "positive")
    momentum: float = setting(0.8, "in [0, 1]")
    steps: int = setting(480, "1 or more")  # of cost 1: a costlier method makes fewer
    batch: int = setting(8, "1 or more")
    feature_weight: float = setting(0.3, "in [0, 1]")  # lam: share of the feature term in S_k
    feature_steps: int = setting(0, "0 or more")  # on features alone before each step (TSDF: 3)
    feature_distance: str = setting("mse", "one of mse, wasserstein")  # TSDF's, FOUND's
    # a step divides by mean|sum_k w_k g_k| ("sum", TSDF) or by sum_k w_k mean|g_k| ("each": with
    # FOUND's weights the mean of normalised gradients, smaller where they disagree)
    normalise: str = setting("sum", "one of sum, each")
    diversity: float = setting(0.0, "in [0, 1]")  # chance of a random resize-and-pad (TSDF: 0.5)
    universal: bool = True  # False: one perturbation per image
    init: float = setting(1.0, "in (0, 1]")  # start in +-init * eps: at zero is no gradient
    seed: int = setting(0, "0 or more")


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
