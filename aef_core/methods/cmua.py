"""CMUA: per-image attacks, fused over the batch and over the generators inside every inner step."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.methods.base import Method
from aef_core.models import AttGAN, DeepfakeModel
from aef_core.perturbation import PerturbationConfig, State, batch_rows, check_finite
from aef_core.perturbation.budgets import Budget
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import INTERRUPTION, Problem, Zoo, seeded

ORDER = ("StarGAN", "AttentionGAN", "HiSD", "AttGAN")  # of the published driver
HISD_SHIFT = 0.002  # added to HiSD's clean output: at x its squared distance has no gradient


@dataclass
class CMUA(Method):
    """Cross-model universal adversarial watermark.

    Formula: for a batch x, every generator k in turn and every target c of it: X = x + U(-eps, eps)
    (HiSD: x + u), y = G_k(x, c), then `inner` times X' = X + 0.01 sign(grad MSE(G_k(X, c), y)),
    eta = mean over the batch of clip(s_k (X' - x), -eps, eps), u <- m u + (1 - m) eta (the very
    first time u = eta), X = clip(x + u, -1, 1).
    Source: Huang et al., AAAI 2022 (arXiv 2105.10872), github.com/VDIGPKU/CMUA-Watermark, to whose
    own traces `tests/test_loop_traces.py` holds it. Published: 2 batches of 64 faces, each once.

    Parameters
    ----------
    inner : int
        Steps of each target. Paper 10.
    share : float, in (0, 1]
        Their size over eps. Paper 0.01 / 0.05 = 0.2.
    momentum : float, in [0, 1)
        m of the fusion. Paper 0.5.
    factors : mapping of generator to float
        The multipliers s_k that the paper calls step sizes and finds by TPE; 1 where not given, as
        the published settings have it.

    A step is one batch through all targets of all generators, see `targets`: dozens of plain steps,
    so that a budget below that still buys one. Batches have the caller's size. History: `strength`
    is the output MSE at a generator's last inner step, `weight` its share of all inner steps;
    `cosines` compare u as each generator left it.
    """

    name: ClassVar[str] = "cmua"
    idea: ClassVar[str] = "per-image steps, each fused over the batch and into one pattern at once"
    inner: int = 10
    share: float = 0.2
    momentum: float = 0.5
    factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise BadInput(f"inner is out of range: {self.inner}, must be at least 1")
        if not 0 < self.share <= 1:
            raise BadInput(f"share is out of range: {self.share}, must be in (0, 1]")
        if not 0 <= self.momentum < 1:
            raise BadInput(f"momentum is out of range: {self.momentum}, must be in [0, 1)")

    def cost(self, zoo: Zoo) -> float:
        return self.inner * sum(len(targets(k, model)) for k, model in zoo.items()) / len(zoo)

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        plain = super().loop(config, n, zoo)
        return replace(plain, step_size=self.share * config.eps, momentum=0.0, feature_weight=0.0,
                       feature_steps=0, universal=True)  # fmt: skip

    def steps(
        self,
        problem: Problem,
        config: PerturbationConfig,
        state: State | None = None,
        execution: Execution = PLAIN,
    ) -> Iterator[State]:
        if problem.transform or problem.objective is not INTERRUPTION:
            raise BadInput("cmua attacks outputs of untransformed photos: give it a budget only")
        names, faces, device = list(problem.zoo), problem.faces, problem.device
        ordered = {name: problem.zoo[name] for name in sorted(names, key=_place)}
        zoo = execution.prepared(ordered)
        images, attributes = faces.images.to(device), faces.attributes.to(device)
        state = state or State(torch.zeros_like(images[:1]), torch.zeros_like(images[:1]))
        u = state.delta.to(device) if state.step else None
        while state.step < config.steps:
            rows = batch_rows(len(faces), state.step, config)
            x, patterns, records = images[rows], {}, {}
            parts = execution.parts(len(rows))
            with execution.applied(device), execution.within_memory(config.batch):
                for name, model in zoo.items():
                    for number, edit in enumerate(targets(name, model)):
                        c = model.conditions(attributes[rows], edit)
                        noise = self.noise(x, config, f"noise {state.step} {name} {number}")
                        outputs = _Outputs(model, c, parts)
                        u, felt = self._attack(name, outputs, x, noise, u, config, problem.budget)
                    patterns[name], records[name] = u, self._row(name, zoo, state.step, *felt)
            state.history += [records[name] for name in names]
            flat = F.normalize(torch.cat([patterns[n] for n in names]).flatten(1).double(), dim=1)
            state.cosines.append((flat @ flat.T).tolist())
            state.delta, state.step = u, state.step + 1
            yield state

    def _attack(
        self,
        name: str,
        outputs: "_Outputs",
        x: Tensor,
        noise: Tensor,
        u: Tensor | None,
        config: PerturbationConfig,
        budget: Budget,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One target, as published: u afterwards; MSE and mean|grad| of the last inner step."""
        y, X = outputs.clean(x), x + noise
        if name == "HiSD":
            y, X = y + HISD_SHIFT, x if u is None else x + budget.added(x, u)
        for _ in range(self.inner):
            mse, gradient = outputs.gradient(X, y)
            moved = X + config.step_size * gradient.sign()
            scaled = self.factors.get(name, 1.0) * (moved - x)
            eta = budget.project(scaled, config.eps).mean(dim=0, keepdim=True)
            u = eta if u is None else self.momentum * u + (1 - self.momentum) * eta
            X = (x + budget.added(x, u)).clamp(-1, 1)
        return u, (mse, gradient.abs().mean())

    def noise(self, x: Tensor, config: PerturbationConfig, purpose: str) -> Tensor:
        """U(-eps, eps) where a target starts, from the seed and its purpose alone."""
        draw = torch.rand(x.shape, generator=seeded(config.seed, purpose))
        return (config.eps * (2 * draw - 1)).to(x)

    def _row(self, name: str, zoo: Zoo, step: int, mse: Tensor, grad_l1: Tensor) -> dict[str, Any]:
        check_finite(step, name, mse, grad_l1)
        counts = {k: len(targets(k, model)) for k, model in zoo.items()}
        return {
            "step": step,
            "model": name,
            "strength": mse.item(),
            "output_mse": mse.item(),
            "feature_mse": float("nan"),  # features play no part
            "weight": counts[name] / sum(counts.values()),
            "grad_l1": grad_l1.item(),
            "solver_failed": False,
        }


@dataclass(frozen=True)
class _Outputs:
    """What a generator makes of a batch, micro-batch by micro-batch."""

    model: DeepfakeModel
    c: Tensor
    parts: list[slice]

    @torch.no_grad()
    def clean(self, x: Tensor) -> Tensor:
        """Its outputs, shape of x."""
        y = torch.zeros_like(x)
        for part in self.parts:
            y[part] = self.model.forward_with_feature(x[part], self.c[part])[0]
        return y

    def gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """MSE of its outputs to y, and the gradient of that with respect to x."""
        gradient, total = torch.zeros_like(x), x.new_zeros(())
        for part in self.parts:
            moved = x[part].detach().requires_grad_()
            output = self.model.forward_with_feature(moved, self.c[part])[0]
            mse = F.mse_loss(output, y[part]) * (len(moved) / len(x))
            gradient[part] = torch.autograd.grad(mse, moved)[0]
            total = total + mse.detach()
        return total, gradient


def targets(name: str, model: DeepfakeModel) -> list[str | None]:
    """What the published driver asks of a generator: every edit; AttGAN's None leaves the face."""
    if name == "HiSD":
        return ["Eyeglasses"] if "Eyeglasses" in model.edits else list(model.edits[:1])
    return [None, *model.edits] if isinstance(model, AttGAN) else list(model.edits)


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
