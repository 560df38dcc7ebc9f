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

from aef_core.errors import AEFError, BadInput
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import (
    FEATURE_DISTANCES,
    Problem,
    References,
    Zoo,
    pooled,
    seeded,
)
from aef_core.perturbation.state import PerturbationConfig, State, batch_rows, initial_state
from aef_core.weighting import Feedback, Weighting


class Diverged(AEFError, RuntimeError):
    """A loss, gradient or weight became NaN or infinite; the message names step and culprit."""


def perturb(
    problem: Problem,
    rule: Weighting,
    config: PerturbationConfig,
    state: State | None = None,
    execution: Execution = PLAIN,
) -> Iterator[State]:
    """Optimise a perturbation; yields its state after every step, so that a caller can watch,
    save, pause or stop.

    Per step: S_k = (1 - lam) MSE(G_k(T(x + d)), G_k(x)) + lam MSE(phi_k(T(x + d)), phi_k(x)) on a
    batch, g_k = dS_k/dd, weights from the rule, g = sum_k w_k g_k, then
    `m <- momentum m + g / mean|g|` and `d <- clip(d + step_size sign(m), -eps, eps)`. Before it
    `feature_steps` steps `d <- clip(d + step_size sign(g), -eps, eps)` along features alone, which
    leave m untouched.

    Parameters
    ----------
    problem : Problem
        Generators, faces, and whatever is not as usual: budget, transformation, objective.
    rule : Weighting
    config : PerturbationConfig
    state : State, optional
        Where an interrupted run stopped.
    execution : Execution
        Memory, precision, layout.

    Raises
    ------
    Diverged
        A loss, a gradient or the weights are not finite.
    ValueError
        Faces of another size than the perturbation.
    OutOfMemory
        The machine gave up; the message says what to do.
    """
    device, faces = problem.device, problem.faces
    images = faces.images.to(device)
    if state is None:
        state = initial_state(images, config, problem.budget)
        rule.reset()
    elif state.delta.shape[1:] != (needed := problem.budget.shape(images)):
        raise BadInput(
            f"the perturbation is {tuple(state.delta.shape[1:])}, the faces need {needed}"
        )
    state.delta, state.velocity = state.delta.to(device), state.velocity.to(device)
    rule.load_state_dict(state.rule)
    zoo, references = execution.prepared(problem.zoo), {}
    with execution.applied(device), execution.within_memory(config.batch):
        batch = min(config.batch, execution.micro_batch or config.batch)
        for name, model in zoo.items():  # one at a time: a cache elsewhere frees its place
            made = problem.objective.references({name: model}, faces, config.seed, batch)
            references[name] = execution.cached(made[name])
    work = _Work(problem, zoo, images, references, rule, config, execution)
    while state.step < config.steps:
        with execution.applied(device), execution.within_memory(config.batch):
            _step(work, state)
        yield state


@dataclass(frozen=True)
class _Work:
    """What stays the same from step to step."""

    problem: Problem
    zoo: Zoo
    images: Tensor
    references: dict[str, References]
    rule: Weighting
    config: PerturbationConfig
    execution: Execution


def _step(work: _Work, state: State) -> None:
    """One batch: steps on features; strengths, weights, one gradient of them, momentum, a step."""
    problem, config, step = work.problem, work.config, state.step
    rows = batch_rows(len(work.images), step, config)
    where = slice(None) if config.universal else rows  # one perturbation for all faces, or one each

    def model_input(purpose: str) -> tuple[Tensor, Tensor]:
        """T(x + d) of the whole batch, T drawn once for all generators; and the d it came from."""
        delta, draw = state.delta[where].clone().requires_grad_(), seeded(config.seed, purpose)
        return problem.model_input(work.images[rows], delta, config.diversity, draw), delta

    def move(direction: Tensor) -> None:
        """A step along the signs, and back into the budget."""
        moved = state.delta[where] + config.step_size * direction.sign()
        state.delta[where] = problem.budget.project(moved, config.eps)

    for inner in range(config.feature_steps):  # all generators as one: no weights, no momentum
        x, delta = model_input(f"diversity {step}.{inner}")
        move(_gradient(partial(_feature_distance, work, rows), x, delta, work.execution)[0])

    x, delta = model_input(f"diversity {step}")
    felt = [
        _gradient(partial(_strength, work, rows, name), x, delta, work.execution)
        for name in work.zoo
    ]
    gradients = torch.stack([gradient for gradient, _ in felt])  # [K, 1 or B, 3, H, W]
    feedback, terms = _feedback(gradients, torch.stack([values for _, values in felt]))
    _check_strengths(work, step, feedback)
    weights = work.rule(feedback)
    _check_weights(work.rule, step, weights)
    g = torch.tensordot(weights.to(gradients), gradients, dims=1)
    if config.normalise == "each":
        scale = (weights @ feedback.grad_l1).to(g)
    else:  # per perturbation: with one per image, each keeps its own scale
        scale = g.abs().mean(dim=(1, 2, 3), keepdim=True)
    normalised = g / scale.clamp_min(torch.finfo(g.dtype).tiny)
    state.velocity[where] = config.momentum * state.velocity[where] + normalised
    move(state.velocity[where])
    _record(work, state, terms, weights, feedback)


def _strength(work: _Work, rows: Tensor, name: str, x: Tensor, part: slice) -> tuple[Tensor, ...]:
    """S_k of a piece of the batch, its output term and its feature term."""
    strength, reference = work.problem.objective.strength, work.references[name]
    return strength(work.zoo[name], x, reference, rows[part], work.config.feature_weight)


def _feature_distance(work: _Work, rows: Tensor, x: Tensor, part: slice) -> tuple[Tensor]:
    """How far the pooled features of all generators moved on a piece of the batch."""
    clean = {name: work.references[name].at(rows[part]) for name in work.zoo}
    moved = pooled(m.encode(x, clean[k].conditions)[0] for k, m in work.zoo.items())
    before = pooled(reference.features for reference in clean.values())
    return (FEATURE_DISTANCES[work.config.feature_distance](moved, before),)


def _gradient(
    loss: Callable[[Tensor, slice], tuple[Tensor, ...]],
    x: Tensor,
    delta: Tensor,
    execution: Execution,
) -> tuple[Tensor, Tensor]:
    """Gradient of a loss's first term with respect to delta, and all its terms, over the batch.

    Micro-batches are pieces of the one x, each counting by its images: cut after the random
    transformation, they cannot change what is drawn.
    """
    upstream, total = torch.zeros_like(x), x.new_zeros((), dtype=torch.float64)
    for part in execution.parts(len(x)):
        piece = x[part].detach().requires_grad_()
        values, share = loss(piece, part), len(piece) / len(x)
        upstream[part] = share * torch.autograd.grad(values[0], piece)[0]
        total = total + share * torch.stack([value.detach() for value in values]).double()
    return torch.autograd.grad(x, delta, upstream, retain_graph=True)[0], total


def _feedback(gradients: Tensor, terms: Tensor) -> tuple[Feedback, list[list[float]]]:
    """What the rule sees, and (strength, output term, feature term) of every generator.

    On the host, in one transfer: a GPU waits for each.
    """
    flat = gradients.flatten(1).double()
    grad_l1 = gradients.abs().flatten(1).mean(dim=1, keepdim=True).double()
    numbers = torch.cat([terms, grad_l1, flat @ flat.T], dim=1).cpu()
    strength, output_mse, _, grad_l1 = numbers[:, :4].T.contiguous()
    feedback = Feedback(strength, grad_l1, numbers[:, 4:].contiguous(), output_mse)
    return feedback, numbers[:, :3].tolist()


def _check_strengths(work: _Work, step: int, feedback: Feedback) -> None:
    for name, *pair in zip(work.zoo, feedback.strength, feedback.grad_l1, strict=True):
        check_finite(step, name, *pair)


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
    work: _Work, state: State, terms: list[list[float]], weights: Tensor, feedback: Feedback
) -> None:
    """Close the step: history, cosines, the rule's memory."""
    for k, name in enumerate(work.zoo):
        row = {"step": state.step, "model": name}
        row |= zip(("strength", "output_mse", "feature_mse"), terms[k], strict=True)
        row |= {"weight": weights[k].item(), "grad_l1": feedback.grad_l1[k].item()}
        state.history.append(row | {"solver_failed": work.rule.solver_failed})
    gramian = feedback.gramian
    norms = gramian.diagonal().sqrt().clamp_min(torch.finfo(gramian.dtype).tiny)
    state.cosines.append((gramian / norms / norms[:, None]).tolist())
    state.rule = work.rule.state_dict()
    state.step += 1
