"""The one optimisation loop: a small perturbation that disturbs several generators at once.

Every generator sees the perturbation through its own graph, so its gradient costs the same whether
the losses are summed first or not. The loop therefore always computes the gradients one by one:
exact norms and cosines are recorded for free, and memory holds one graph at a time.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.interruption import (
    FEATURE_DISTANCES,
    NO_HOOKS,
    Hooks,
    References,
    Zoo,
    pooled,
    pooled_features,
    seeded,
    seen,
)
from aef_core.weighting import Feedback, Weighting


@dataclass(frozen=True)
class PerturbationConfig:
    """Settings of the loop; images and perturbation are in [-1, 1] units throughout.

    Defaults are the constants of the authors' published TSDF code unless said otherwise.
    """

    eps: float = 0.05  # bound on |delta|; 0.05 here is 6.4 of 255
    step_size: float = 1e-3
    momentum: float = 0.8
    steps: int = 480
    batch: int = 8
    feature_weight: float = 0.3  # lam: share of the feature term in S_k
    feature_steps: int = 0  # feature-only steps before each step (TSDF: 3)
    feature_distance: str = "mse"  # what those steps maximise: "mse" (TSDF), "wasserstein" (FOUND)
    diversity: float = 0.0  # chance of a random resize-and-pad (TSDF: 0.5, on one side only)
    universal: bool = True  # False: one perturbation per image
    init: float = 1.0  # start uniform in +-init * eps: at zero the gradient vanishes
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "eps": (0 < self.eps <= 2, "in (0, 2]"),
            "step_size": (self.step_size > 0, "positive"),
            "momentum": (0 <= self.momentum <= 1, "in [0, 1]"),
            "steps": (self.steps >= 1, "at least 1"),
            "batch": (self.batch >= 1, "at least 1"),
            "feature_weight": (0 <= self.feature_weight <= 1, "in [0, 1]"),
            "feature_steps": (self.feature_steps >= 0, "0 or more"),
            "diversity": (0 <= self.diversity <= 1, "in [0, 1]"),
            "feature_distance": (
                self.feature_distance in FEATURE_DISTANCES,
                f"one of {', '.join(FEATURE_DISTANCES)}",
            ),
            "init": (0 < self.init <= 1, "in (0, 1]"),
        }
        for name, (ok, wanted) in checks.items():
            if not ok:
                raise ValueError(f"{name} is out of range: {getattr(self, name)}, must be {wanted}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Diverged(RuntimeError):
    """A loss or gradient became NaN or infinite; the message names step and generator."""


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


def perturb(
    zoo: Zoo,
    faces: FaceBatch,
    rule: Weighting,
    config: PerturbationConfig,
    state: State | None = None,
    hooks: Hooks = NO_HOOKS,
) -> Iterator[State]:
    """Optimise a perturbation; yields its state after every step, so that a caller can watch,
    save, pause or stop.

    Per step: S_k = (1 - lam) MSE(G_k(x + d), G_k(x)) + lam MSE(phi_k(x + d), phi_k(x)) on a batch,
    g_k = dS_k/dd, weights from the rule, g = sum_k w_k g_k, then `m <- momentum m + g / mean|g|`
    and `d <- clip(d + step_size sign(m), -eps, eps)`.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
        Frozen generators, all on one device.
    faces : FaceBatch
        The faces to optimise on; never the ones to evaluate on.
    rule : Weighting
    config : PerturbationConfig
    state : State, optional
        Where an interrupted run stopped.
    hooks : Hooks, optional
        Another budget than the box, or a random transformation of what the generators see.

    Raises
    ------
    Diverged
        A loss or gradient is not finite.
    ValueError
        An empty zoo, or faces of another size than the perturbation.
    """
    if not zoo:
        raise ValueError("the zoo is empty: nothing to optimise against")
    device = next(next(iter(zoo.values())).parameters()).device
    images = faces.images.to(device)
    if state is None:
        state = initial_state(images, config, hooks)
        rule.reset()
    elif state.delta.shape[1:] != (needed := hooks.budget.shape(images)):
        raise ValueError(
            f"the perturbation is {tuple(state.delta.shape[1:])}, the faces need {needed}"
        )
    state.delta, state.velocity = state.delta.to(device), state.velocity.to(device)
    rule.load_state_dict(state.rule)
    references = hooks.objective.references(zoo, faces, config.seed, config.batch)
    while state.step < config.steps:
        for inner in range(config.feature_steps):
            rows = batch_rows(len(images), state.step, config)
            gradient = _feature_gradient(zoo, images, references, rows, state, config, inner,
                                         hooks)  # fmt: skip
            _update(state, gradient, rows, config, hooks)
        _step(zoo, images, references, rule, state, config, hooks)
        yield state


def initial_state(images: Tensor, config: PerturbationConfig, hooks: Hooks = NO_HOOKS) -> State:
    """A random start within the box; drawn on the CPU, so equal on every device."""
    shape = (1 if config.universal else len(images), *hooks.budget.shape(images))
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(config.seed)) * 2 - 1
    delta = hooks.budget.project((noise * config.eps * config.init).to(images), config.eps)
    return State(delta, torch.zeros_like(delta))


def batch_rows(n: int, step: int, config: PerturbationConfig) -> Tensor:
    """Rows of the faces seen at a step: a fresh shuffle each epoch, from (seed, epoch) alone."""
    per_epoch = math.ceil(n / config.batch)
    epoch, position = divmod(step, per_epoch)
    order = torch.randperm(n, generator=seeded(config.seed, f"shuffle {epoch}"))
    return order[position * config.batch : (position + 1) * config.batch]


def _step(
    zoo: Zoo,
    images: Tensor,
    references: Mapping[str, References],
    rule: Weighting,
    state: State,
    config: PerturbationConfig,
    hooks: Hooks,
) -> None:
    rows = batch_rows(len(images), state.step, config)
    gradients, terms = [], []
    for name, model in zoo.items():
        delta = _slice(state.delta, rows, config).requires_grad_()
        draw = seeded(config.seed, f"diversity {state.step}")
        x = seen(images[rows], delta, config.diversity, draw, hooks)
        values = hooks.objective.strength(model, x, references[name], rows, config.feature_weight)
        (gradient,) = torch.autograd.grad(values[0], delta)
        _check_finite(name, state.step, values[0], gradient)
        gradients.append(gradient)
        terms.append([value.item() for value in values])
    stacked = torch.stack(gradients)
    grad_l1 = stacked.abs().flatten(1).mean(dim=1).double().cpu()
    flat = stacked.flatten(1).double()
    strength, output_mse, _ = torch.tensor(terms, dtype=torch.float64).T.contiguous()
    weights = rule(Feedback(strength, grad_l1, (flat @ flat.T).cpu(), output_mse))
    combined = torch.tensordot(weights.to(stacked), stacked, dims=1)
    _update(state, combined, rows, config, hooks)
    _record(state, list(zoo), terms, weights, grad_l1, stacked)
    state.rule = rule.state_dict()
    state.step += 1


def _slice(delta: Tensor, rows: Tensor, config: PerturbationConfig) -> Tensor:
    return (delta if config.universal else delta[rows]).detach().clone()


def _update(
    state: State, gradient: Tensor, rows: Tensor, config: PerturbationConfig, hooks: Hooks
) -> None:
    """Normalise, add momentum, step by the sign, project onto the budget."""
    dims = (1, 2, 3)  # per perturbation: with one per image, each keeps its own scale
    scale = gradient.abs().mean(dim=dims, keepdim=True)
    normalised = gradient / scale.clamp_min(torch.finfo(gradient.dtype).tiny)
    where = slice(None) if config.universal else rows
    state.velocity[where] = config.momentum * state.velocity[where] + normalised
    moved = state.delta[where] + config.step_size * state.velocity[where].sign()
    state.delta[where] = hooks.budget.project(moved, config.eps)


def _feature_gradient(
    zoo: Zoo,
    images: Tensor,
    references: Mapping[str, References],
    rows: Tensor,
    state: State,
    config: PerturbationConfig,
    inner: int,
    hooks: Hooks,
) -> Tensor:
    """The stage before a step: pooled features of *all* generators, no weights (see `pooled`)."""
    delta = _slice(state.delta, rows, config).requires_grad_()
    draw = seeded(config.seed, f"diversity {state.step}.{inner}")
    x = seen(images[rows], delta, config.diversity, draw, hooks)
    moved = sum(pooled(m.encode(x, references[k].conditions[rows])[0]) for k, m in zoo.items())
    clean = pooled_features(zoo, references, rows)
    distance = FEATURE_DISTANCES[config.feature_distance](moved, clean)
    return torch.autograd.grad(distance, delta)[0]


def _check_finite(name: str, step: int, strength: Tensor, gradient: Tensor) -> None:
    if not (strength.isfinite() and gradient.isfinite().all()):
        raise Diverged(
            f"step {step}: {name} returned a loss or gradient that is not finite; "
            "check its weights and the images, or lower eps"
        )


def _record(
    state: State,
    names: list[str],
    terms: list[list[float]],
    weights: Tensor,
    grad_l1: Tensor,
    gradients: Tensor,
) -> None:
    for k, name in enumerate(names):
        strength, output_mse, feature_mse = terms[k]
        state.history.append(
            {
                "step": state.step,
                "model": name,
                "strength": strength,
                "output_mse": output_mse,
                "feature_mse": feature_mse,
                "weight": weights[k].item(),
                "grad_l1": grad_l1[k].item(),
            }
        )
    unit = F.normalize(gradients.flatten(1).double(), dim=1)
    state.cosines.append((unit @ unit.T).tolist())
