"""The one optimisation loop: a small perturbation that disturbs several generators at once.

Every generator sees the perturbation through its own graph, so its gradient costs the same whether
the losses are summed first or not. The loop therefore always computes the gradients one by one:
exact norms and cosines are recorded for free, and memory holds one graph at a time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aef_core.distributed import ALONE, Peers
from aef_core.execution import Execution
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
    execution: Execution | None = None,
    peers: Peers = ALONE,
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
    execution : Execution, optional
        Memory, precision, layout.
    peers : Peers
        Processes that share each batch; every one ends each step with the same state.

    Raises
    ------
    Diverged
        A loss or gradient is not finite.
    ValueError
        An empty zoo, or faces of another size than the perturbation.
    OutOfMemory, LostPeer
        The machine, or another process of the job, gave up; the message says what to do.
    """
    execution = execution or Execution()
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
    work = _Work(execution.prepared(zoo), images, {}, rule, config, hooks, execution, peers)
    with execution.applied(device), execution.within_memory(config.batch):
        batch = min(config.batch, execution.micro_batch or config.batch)
        for name, model in work.zoo.items():  # one at a time: a cache elsewhere frees its place
            made = hooks.objective.references({name: model}, faces, config.seed, batch)
            work.references[name] = execution.kept(made[name])
    while state.step < config.steps:
        with execution.applied(device), execution.within_memory(config.batch):
            for inner in range(config.feature_steps):
                _feature_step(work, state, inner)
            _step(work, state)
        yield state


@dataclass(frozen=True)
class _Work:
    """What stays the same from step to step."""

    zoo: Zoo
    images: Tensor
    references: dict[str, References]
    rule: Weighting
    config: PerturbationConfig
    hooks: Hooks
    execution: Execution
    peers: Peers


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


def _step(work: _Work, state: State) -> None:
    rows = batch_rows(len(work.images), state.step, work.config)
    gradients, terms = [], []
    for name, model in work.zoo.items():
        strength = partial(work.hooks.objective.strength, model)
        gradient, values = _gradient(
            lambda x, rows, f=strength, r=work.references[name]: f(
                x, r, rows, work.config.feature_weight
            ),
            work, state, rows, f"diversity {state.step}",
        )  # fmt: skip
        gradients.append(gradient)
        terms.append(values.expand(3))  # a process without a share has one zero
    stacked, terms = torch.stack(gradients), torch.stack(terms)
    work.peers.sum(stacked, terms)
    flat = stacked.flatten(1).double()
    grad_l1 = stacked.abs().flatten(1).mean(dim=1, keepdim=True).double()
    # all that the host needs in one transfer: on a GPU each one waits for the device
    numbers = torch.cat([terms, grad_l1, flat @ flat.T], dim=1).cpu()
    strength, output_mse, _, grad_l1 = numbers[:, :4].T.contiguous()
    gramian = numbers[:, 4:].contiguous()
    _check_finite(list(work.zoo), state.step, strength, grad_l1)
    weights = work.rule(Feedback(strength, grad_l1, gramian, output_mse))
    combined = torch.tensordot(weights.to(stacked), stacked, dims=1)
    _update(state, combined, rows, work.config, work.hooks)
    _record(state, list(work.zoo), numbers[:, :3].tolist(), weights, grad_l1, gramian)
    state.rule = work.rule.state_dict()
    state.step += 1


def _gradient(
    objective: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    work: _Work,
    state: State,
    rows: Tensor,
    purpose: str,
) -> tuple[Tensor, Tensor]:
    """Gradient of the first term, and all terms, of a batch: this process's share of the mean.

    Piece by piece where `micro_batch` asks for it, each piece counting by its images.
    """
    config = work.config
    delta = _slice(state.delta, rows, config)
    gradient, total = torch.zeros_like(delta), delta.new_zeros(1, dtype=torch.float64)
    for part in work.peers.parts(len(rows), work.execution.micro_batch):
        where = slice(None) if config.universal else part
        moved = delta[where].clone().requires_grad_()
        draw = seeded(config.seed, purpose)
        x = seen(work.images[rows[part]], moved, config.diversity, draw, work.hooks)
        values = objective(x, rows[part])
        share = (part.stop - part.start) / len(rows)
        gradient[where] += share * torch.autograd.grad(values[0], moved)[0]
        total = total + share * torch.stack([value.detach() for value in values]).double()
    return gradient, total


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


def _feature_step(work: _Work, state: State, inner: int) -> None:
    """The stage before a step: pooled features of *all* generators, no weights (see `pooled`)."""

    def distance(x: Tensor, rows: Tensor) -> tuple[Tensor]:
        conditions = {name: work.references[name].conditions[rows] for name in work.zoo}
        moved = sum(pooled(m.encode(x, conditions[k])[0]) for k, m in work.zoo.items())
        clean = pooled_features(work.zoo, work.references, rows)
        return (FEATURE_DISTANCES[work.config.feature_distance](moved, clean),)

    rows = batch_rows(len(work.images), state.step, work.config)
    gradient, _ = _gradient(distance, work, state, rows, f"diversity {state.step}.{inner}")
    work.peers.sum(gradient)
    _update(state, gradient, rows, work.config, work.hooks)


def _check_finite(names: list[str], step: int, strength: Tensor, grad_l1: Tensor) -> None:
    for name, loss, gradient in zip(names, strength, grad_l1, strict=True):
        if not (loss.isfinite() and gradient.isfinite()):
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
    gramian: Tensor,
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
    norms = gramian.diagonal().sqrt().clamp_min(torch.finfo(gramian.dtype).tiny)
    state.cosines.append((gramian / norms / norms[:, None]).tolist())
