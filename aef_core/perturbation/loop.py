"""The one optimisation loop: a small perturbation that disturbs several generators at once.

Every generator sees the perturbation through its own graph, so its gradient costs the same whether
the losses are summed first or not. The loop therefore always computes the gradients one by one:
exact norms and cosines are recorded for free, and memory holds one graph at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from aef_core.errors import AEFError, BadInput
from aef_core.perturbation.objective import FEATURE_DISTANCES, Problem, References, pooled, seeded
from aef_core.perturbation.state import PerturbationConfig, State, batch_rows, initial_state
from aef_core.weighting import Feedback, Weighting


class Diverged(AEFError, RuntimeError):
    """A loss, gradient or weight became NaN or infinite; the message names step and culprit."""


def perturb(
    problem: Problem, rule: Weighting, config: PerturbationConfig, state: State | None = None
) -> Iterator[State]:
    """Optimise a perturbation; yields the state after every step.

    Per step: S_k = (1 - lam) MSE(G_k(T(x + d)), G_k(x)) + lam MSE(phi_k(T(x + d)), phi_k(x)) on a
    batch, g_k = dS_k/dd, weights from the rule, g = sum_k w_k g_k, then
    `m <- momentum m + g / mean|g|` and `d <- clip(d + step_size sign(m), -eps, eps)`. Before it
    `feature_steps` steps `d <- clip(d + step_size sign(g), -eps, eps)` along features alone, which
    leave m untouched. Given a `state`, it goes on where that one stopped, to the same bits.

    Raises
    ------
    Diverged
        A loss, a gradient or the weights are not finite.
    ValueError
        Faces of another size than the perturbation.
    OutOfMemory
        Memory ran out; the message says what to do.
    """
    work, execution = _Work(problem, config), problem.execution
    state = _start(state, work, rule)
    while state.step < config.steps:
        with execution.applied(problem.device):
            rows = batch_rows(len(work.images), state.step, config)
            own = slice(None) if config.universal else rows  # one d for all faces, or one each

            for inner in range(config.feature_steps):  # all generators as one; m stays as it is
                x, d = work.model_input(state.delta[own], rows, f"diversity {state.step}.{inner}")
                g, _ = work.gradient(partial(work.feature_distance, rows), x, d)
                moved = state.delta[own] + config.step_size * g.sign()
                state.delta[own] = problem.budget.project(moved, config.eps)

            x, d = work.model_input(state.delta[own], rows, f"diversity {state.step}")
            pairs = [work.gradient(partial(work.strength, rows, name), x, d) for name in work.zoo]
            gradients, terms = map(torch.stack, zip(*pairs, strict=True))  # [K, 1 or B, 3, H, W]
            feedback = _feedback(gradients, terms)
            for name, *pair in zip(work.zoo, feedback.strength, feedback.grad_l1, strict=True):
                check_finite(state.step, name, *pair)
            weights = rule(feedback)
            _check_weights(rule, state.step, weights)
            g = torch.tensordot(weights.to(gradients), gradients, dims=1)
            if config.normalise == "each":  # FOUND: with its weights, a mean of gradients of size 1
                scale = (weights @ feedback.grad_l1).to(g)
            else:  # of each perturbation, so that with one per image each keeps its own scale
                scale = g.abs().mean(dim=(1, 2, 3), keepdim=True)
            g = g / scale.clamp_min(torch.finfo(g.dtype).tiny)
            state.velocity[own] = config.momentum * state.velocity[own] + g
            moved = state.delta[own] + config.step_size * state.velocity[own].sign()
            state.delta[own] = problem.budget.project(moved, config.eps)

            _record(state, list(work.zoo), feedback, weights, rule)
        yield state


def _start(state: State | None, work: "_Work", rule: Weighting) -> State:
    """A random start or the given state, on the generators' device; the rule gets its memory."""
    images, budget = work.images, work.problem.budget
    if state is None:
        state = initial_state(images, work.config, budget)
    elif state.delta.shape[1:] != budget.shape(images):
        shape, needed = tuple(state.delta.shape[1:]), budget.shape(images)
        raise BadInput(f"the perturbation is {shape}, the faces need {needed}")
    state.delta, state.velocity = state.delta.to(images.device), state.velocity.to(images.device)
    rule.state = dict(state.rule)
    return state


class _Work:
    """What stays the same from step to step, and the losses it gives a batch."""

    def __init__(self, problem: Problem, config: PerturbationConfig) -> None:
        self.problem, self.config, execution = problem, config, problem.execution
        self.images = problem.faces.images.to(problem.device)
        self.zoo = execution.prepared(problem.zoo)
        self.references: dict[str, References] = {}
        batch = min(config.batch, execution.micro_batch or config.batch)
        clean = problem.objective.references
        with execution.applied(problem.device):
            for name, model in self.zoo.items():  # one at a time: a cache elsewhere frees its place
                made = clean({name: model}, problem.faces, config.seed, batch)[name]
                outputs, features = map(execution.cached, (made.outputs, made.features))
                self.references[name] = replace(made, outputs=outputs, features=features)

    def model_input(self, delta: Tensor, rows: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """T(x + d) of the whole batch, T drawn once for all generators; and the d it came from."""
        d = delta.clone().requires_grad_()
        draw, chance = seeded(self.config.seed, purpose), self.config.diversity
        return self.problem.model_input(self.images[rows], d, chance, draw), d

    def strength(self, rows: Tensor, name: str, x: Tensor, part: slice) -> tuple[Tensor, ...]:
        """S_k of a micro-batch, its output term and its feature term."""
        share, reference = self.config.feature_weight, self.references[name]
        return self.problem.objective.strength(self.zoo[name], x, reference, rows[part], share)

    def feature_distance(self, rows: Tensor, x: Tensor, part: slice) -> tuple[Tensor]:
        """How far the pooled features of all generators moved on a micro-batch."""
        clean = {name: self.references[name].at(rows[part]) for name in self.zoo}
        moved = pooled(m.encode(x, clean[k].conditions)[0] for k, m in self.zoo.items())
        before = pooled(reference.features for reference in clean.values())
        return (FEATURE_DISTANCES[self.config.feature_distance](moved, before),)

    def gradient(
        self, loss: Callable[[Tensor, slice], tuple[Tensor, ...]], x: Tensor, d: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradient of a loss's first term with respect to d, and all its terms, over the batch.

        Micro-batches are pieces of the one x: cut after the random transformation, they cannot
        change what is drawn.
        """
        upstream, total = self.problem.execution.gradient(loss, x)
        return torch.autograd.grad(x, d, upstream, retain_graph=True)[0], total


def _feedback(gradients: Tensor, terms: Tensor) -> Feedback:
    """What the rule sees, brought to the host in one transfer: a GPU waits for each.

    `terms`, shape [K, 3], are strength, output term and feature term of every generator.
    """
    flat = gradients.flatten(1).double()
    grad_l1 = gradients.abs().flatten(1).mean(dim=1, keepdim=True).double()
    numbers = torch.cat([terms, grad_l1, flat @ flat.T], dim=1).cpu()
    strength, output_mse, feature_mse, grad_l1 = numbers[:, :4].T.contiguous()
    return Feedback(strength, grad_l1, numbers[:, 4:].contiguous(), output_mse, feature_mse)


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
            f"not finite, {weights.tolist()}; try other settings of it"
        )


def _record(
    state: State, names: list[str], feedback: Feedback, weights: Tensor, rule: Weighting
) -> None:
    """Add the step's rows, its cosines and the rule's memory to the state, and count the step."""
    columns = {"strength": feedback.strength, "output_mse": feedback.output_mse,
               "feature_mse": feedback.feature_mse, "weight": weights,
               "grad_l1": feedback.grad_l1}  # fmt: skip
    for k, name in enumerate(names):
        row = {"step": state.step, "model": name}
        row |= {column: values[k].item() for column, values in columns.items()}
        state.history.append(row | {"solver_failed": rule.solver_failed})
    gramian = feedback.gramian
    norms = gramian.diagonal().sqrt().clamp_min(torch.finfo(gramian.dtype).tiny)
    state.cosines.append((gramian / norms / norms[:, None]).tolist())
    state.rule = dict(rule.state)
    state.step += 1
