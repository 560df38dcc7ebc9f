"""CMUA: per-image attacks, fused over the batch and over the generators inside every inner step."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.methods.base import OUTPUTS_ALONE, Method
from aef_core.models import AttGAN, DeepfakeModel
from aef_core.perturbation import PerturbationConfig, State, batch_rows, check_finite
from aef_core.perturbation.objective import INTERRUPTION, Problem, Zoo, seeded
from aef_core.registry import setting

ORDER = ("StarGAN", "AttentionGAN", "HiSD", "AttGAN")  # of the published driver
HISD_SHIFT = 0.002  # added to HiSD's clean output: at x its squared distance has no gradient


@dataclass
class CMUA(Method):
    """Cross-model universal adversarial watermark.

    Formula: for a batch x, every generator k in turn and every target c of it: X = x + U(-eps, eps)
    (HiSD: x + u), y = G_k(x, c), then `inner` times X' = X + 0.01 sign(grad MSE(G_k(X, c), y)),
    eta = mean over the batch of clip(s_k (X' - x), -eps, eps), u <- m u + (1 - m) eta (the very
    first time u = eta), X = clip(x + u, -1, 1).
    Source: Huang et al., AAAI 2022 (arXiv 2105.10872), github.com/VDIGPKU/CMUA-Watermark, whose
    settings are the defaults; `tests/test_loop_traces.py` compares with traces of that code.

    A step is one batch through all targets of all generators, dozens of plain steps. History:
    `strength` is the output MSE at a generator's last inner step, `weight` its share of all inner
    steps; `cosines` compare u as each generator left it.
    """

    name = "cmua"
    fixed = OUTPUTS_ALONE | {"momentum": 0.0}
    inner: int = setting(10, "1 or more")  # steps of each target
    share: float = setting(0.2, "in (0, 1]")  # their size over eps: 0.01 / 0.05
    momentum: float = setting(0.5, "in [0, 1)")  # m of the fusion
    factors: dict[str, float] = field(default_factory=dict)  # s_k, 1 where not given; found by TPE

    def cost(self, zoo: Zoo) -> float:
        return self.inner * sum(len(targets(k, model)) for k, model in zoo.items()) / len(zoo)

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        return replace(super().loop(config, n, zoo), step_size=self.share * config.eps)

    def steps(
        self, problem: Problem, config: PerturbationConfig, state: State | None = None
    ) -> Iterator[State]:
        if problem.transform or problem.objective is not INTERRUPTION:
            raise BadInput("cmua attacks outputs of untransformed photos: give it a budget only")
        names, faces, device = list(problem.zoo), problem.faces, problem.device
        execution = problem.execution
        zoo = execution.prepared({k: problem.zoo[k] for k in (*ORDER, *names) if k in names})
        problem = replace(problem, zoo=zoo)
        counts = {name: len(targets(name, model)) for name, model in zoo.items()}
        images, attributes = faces.images.to(device), faces.attributes.to(device)
        state = state or State(torch.zeros_like(images[:1]), torch.zeros_like(images[:1]))
        u = state.delta.to(device) if state.step else None
        while state.step < config.steps:
            rows = batch_rows(len(faces), state.step, config)
            x, a, patterns, records = images[rows], attributes[rows], {}, {}
            with execution.applied(device):
                for name, model in zoo.items():
                    for number, edit in enumerate(targets(name, model)):
                        c = model.conditions(a, edit) if edit else model.keep_condition(x, a)
                        noise = self.noise(x, config, f"noise {state.step} {name} {number}")
                        u, (mse, grad_l1) = self._attack(problem, name, x, c, noise, u, config)
                    check_finite(state.step, name, mse, grad_l1)
                    patterns[name], share = u, counts[name] / sum(counts.values())
                    records[name] = {
                        "step": state.step, "model": name, "strength": mse.item(),
                        "output_mse": mse.item(), "feature_mse": float("nan"), "weight": share,
                        "grad_l1": grad_l1.item(), "solver_failed": False,
                    }  # fmt: skip
            state.history += [records[name] for name in names]
            flat = F.normalize(torch.cat([patterns[n] for n in names]).flatten(1).double(), dim=1)
            state.cosines.append((flat @ flat.T).tolist())
            state.delta, state.step = u, state.step + 1
            yield state

    def _attack(
        self,
        problem: Problem,
        name: str,
        x: Tensor,
        c: Tensor,
        noise: Tensor,
        u: Tensor | None,
        config: PerturbationConfig,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attack one target. Returns u, and MSE and mean|grad| of the last inner step."""
        model, budget, execution = problem.zoo[name], problem.budget, problem.execution

        def output(piece: Tensor, part: slice) -> Tensor:
            return model.forward_with_feature(piece, c[part])[0]

        def error(piece: Tensor, part: slice) -> tuple[Tensor]:
            return (F.mse_loss(output(piece, part), y[part]),)

        with torch.no_grad():
            y = torch.cat([output(x[part], part) for part in execution.parts(len(x))])
        X = x + noise
        if name == "HiSD":
            y, X = y + HISD_SHIFT, x if u is None else x + budget.added(x, u)
        for _ in range(self.inner):
            gradient, (mse,) = execution.gradient(error, X)
            moved = X + config.step_size * gradient.sign()
            scaled = self.factors.get(name, 1.0) * (moved - x)
            eta = budget.project(scaled, config.eps).mean(dim=0, keepdim=True)
            u = eta if u is None else self.momentum * u + (1 - self.momentum) * eta
            X = (x + budget.added(x, u)).clamp(-1, 1)
        return u, (mse, gradient.abs().mean())

    def noise(self, x: Tensor, config: PerturbationConfig, purpose: str) -> Tensor:
        """The random start of a target, U(-eps, eps), drawn from the seed and `purpose` alone."""
        draw = torch.rand(x.shape, generator=seeded(config.seed, purpose))
        return (config.eps * (2 * draw - 1)).to(x)


def targets(name: str, model: DeepfakeModel) -> list[str | None]:
    """What the published driver asks of a generator: every edit; of AttGAN None, no edit, too."""
    if name == "HiSD":
        return ["Eyeglasses"] if "Eyeglasses" in model.edits else list(model.edits[:1])
    return [None, *model.edits] if isinstance(model, AttGAN) else list(model.edits)
