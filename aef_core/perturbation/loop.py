"""The one optimisation loop: a small perturbation that disturbs several generators at once.

Every generator sees the perturbation through its own graph, so its gradient costs the same whether
the losses are summed first or not. The loop therefore always computes the gradients one by one:
exact norms and cosines are recorded for free, and memory holds one graph at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from aef_core.distributed import ALONE, Peers
from aef_core.errors import AEFError, BadInput
from aef_core.faces import FaceBatch
from aef_core.perturbation.execution import Execution
from aef_core.perturbation.objective import (
    FEATURE_DISTANCES,
    NO_HOOKS,
    Hooks,
    References,
    Zoo,
    model_input,
    pooled,
    seeded,
)
from aef_core.perturbation.state import PerturbationConfig, State, batch_rows, initial_state
from aef_core.weighting import Feedback, Weighting


class Diverged(AEFError, RuntimeError):
    """A loss, gradient or weight became NaN or infinite; the message names step and culprit."""


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
    and `d <- clip(d + step_size sign(m), -eps, eps)`. Before it `feature_steps` steps
    `d <- clip(d + step_size sign(g), -eps, eps)` along features alone, which leave m untouched.

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
        A loss, a gradient or the weights are not finite.
    ValueError
        An empty zoo, or faces of another size than the perturbation.
    OutOfMemory, LostPeer
        The machine, or another process of the job, gave up; the message says what to do.
    """
    execution = execution or Execution()
    if not zoo:
        raise BadInput("the zoo is empty: nothing to optimise against")
    device = next(next(iter(zoo.values())).parameters()).device
    images = faces.images.to(device)
    if state is None:
        state = initial_state(images, config, hooks)
        rule.reset()
    elif state.delta.shape[1:] != (needed := hooks.budget.shape(images)):
        raise BadInput(
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


def _step(work: _Work, state: State) -> None:
    """Strengths and gradients, weights, one gradient of them, momentum, and the step."""
    config, rows = work.config, batch_rows(len(work.images), state.step, work.config)
    gradients, numbers = _all_gradients(work, state, rows)
    strength, output_mse, _, grad_l1 = numbers[:, :4].T.contiguous()
    gramian = numbers[:, 4:].contiguous()
    for name, *felt in zip(work.zoo, strength, grad_l1, strict=True):
        check_finite(state.step, name, *felt)
    weights = work.rule(Feedback(strength, grad_l1, gramian, output_mse))
    _check_weights(work.rule, state.step, weights)
    combined = torch.tensordot(weights.to(gradients), gradients, dims=1)
    if config.normalise == "each":
        scale = (weights @ grad_l1).to(combined)
    else:  # per perturbation: with one per image, each keeps its own scale
        scale = combined.abs().mean(dim=(1, 2, 3), keepdim=True)
    where = slice(None) if config.universal else rows
    normalised = combined / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    state.velocity[where] = config.momentum * state.velocity[where] + normalised
    _move(work, state, where, state.velocity[where])
    _record(work, state, numbers[:, :3].tolist(), weights, grad_l1, gramian)
    state.rule = work.rule.state_dict()
    state.step += 1


def _all_gradients(work: _Work, state: State, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients, [K, 1 or B, 3, H, W], and what the host needs of them, [K, 4 + K]: strength,
    output term, feature term, mean|g|, Gramian; in one transfer, since a GPU waits for each."""
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
    return stacked, torch.cat([terms, grad_l1, flat @ flat.T], dim=1).cpu()


def _feature_step(work: _Work, state: State, inner: int) -> None:
    """The stage before a step: pooled features of *all* generators, no weights, no momentum."""

    def distance(x: Tensor, rows: Tensor) -> tuple[Tensor]:
        clean = {name: work.references[name].at(rows) for name in work.zoo}
        moved = pooled(m.encode(x, clean[k].conditions)[0] for k, m in work.zoo.items())
        before = pooled(reference.features for reference in clean.values())
        return (FEATURE_DISTANCES[work.config.feature_distance](moved, before),)

    rows = batch_rows(len(work.images), state.step, work.config)
    gradient, _ = _gradient(distance, work, state, rows, f"diversity {state.step}.{inner}")
    work.peers.sum(gradient)
    _move(work, state, slice(None) if work.config.universal else rows, gradient)


def _move(work: _Work, state: State, where: slice | Tensor, direction: Tensor) -> None:
    """A step along the signs, and back into the budget."""
    moved = state.delta[where] + work.config.step_size * direction.sign()
    state.delta[where] = work.hooks.budget.project(moved, work.config.eps)


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
    delta = (state.delta if config.universal else state.delta[rows]).detach()
    gradient, total = torch.zeros_like(delta), delta.new_zeros(1, dtype=torch.float64)
    for part in work.peers.parts(len(rows), work.execution.micro_batch):
        where = slice(None) if config.universal else part
        moved = delta[where].clone().requires_grad_()
        draw = seeded(config.seed, purpose)
        x = model_input(work.images[rows[part]], moved, config.diversity, draw, work.hooks)
        values = objective(x, rows[part])
        share = (part.stop - part.start) / len(rows)
        gradient[where] += share * torch.autograd.grad(values[0], moved)[0]
        total = total + share * torch.stack([value.detach() for value in values]).double()
    return gradient, total


def check_finite(step: int, name: str, loss: Tensor, gradient: Tensor) -> None:
    """Raise `Diverged` for a generator whose loss or gradient is NaN or infinite."""
    if not (loss.isfinite() and gradient.isfinite()):
        raise Diverged(
            f"step {step}: {name} returned a loss or gradient that is not finite; "
            "check its weights and the images, or lower eps"
        )


def _check_weights(rule: Weighting, step: int, weights: Tensor) -> None:
    if not weights.isfinite().all():
        said = ", ".join(f"{name}={value}" for name, value in rule.settings().items())
        raise Diverged(
            f"step {step}: rule {rule.name!r} ({said or 'no settings'}) returned weights that are "
            f"not finite, {[round(w, 4) for w in weights.tolist()]}; try other settings of it"
        )


def _record(
    work: _Work,
    state: State,
    terms: list[list[float]],
    weights: Tensor,
    grad_l1: Tensor,
    gramian: Tensor,
) -> None:
    for k, name in enumerate(work.zoo):
        row = {"step": state.step, "model": name}
        row |= zip(("strength", "output_mse", "feature_mse"), terms[k], strict=True)
        row |= {"weight": weights[k].item(), "grad_l1": grad_l1[k].item()}
        state.history.append(row | {"solver_failed": work.rule.solver_failed})
    norms = gramian.diagonal().sqrt().clamp_min(torch.finfo(gramian.dtype).tiny)
    state.cosines.append((gramian / norms / norms[:, None]).tolist())
