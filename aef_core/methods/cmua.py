"""CMUA: per-image attacks, fused over the batch and then over the generators."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.methods.base import Method
from aef_core.perturbation import PerturbationConfig, State, batch_rows, perturb
from aef_core.perturbation.objective import Hooks, Zoo
from aef_core.weighting import Weighting, make_rule

ORDER = ("StarGAN", "AttentionGAN", "HiSD", "AttGAN")  # of the published driver


@dataclass
class CMUA(Method):
    """Cross-model universal adversarial watermark.

    Formula: for a batch and generator k, X' = x + K sign steps of PGD from x + U(-eps, eps) on the
    output MSE of G_k; image level eta = mean over the batch of clip(s_k (X' - x), -eps, eps); model
    level u <- m u + (1 - m) eta, the first time u = eta; generators in turn.
    Source: Huang et al., AAAI 2022 (arXiv 2105.10872), github.com/VDIGPKU/CMUA-Watermark.

    Parameters
    ----------
    inner : int
        Steps K of the per-image attack. Paper 10.
    share : float, in (0, 1]
        Its step size over eps. Paper 0.01 / 0.05 = 0.2.
    momentum : float, in [0, 1)
        m of the model level. Paper 0.5.
    factors : mapping of generator to float
        The multipliers s_k that the paper calls step sizes and finds by TPE; 1 where not given, as
        the published settings have it. See `search_factors`.

    Departs from the published code: batches of the caller's size instead of 64; each image carries
    one random edit a batch instead of every edit in turn; every generator starts from fresh noise
    (there, HiSD starts from u) and has its clean output as reference (there, HiSD's is shifted by
    0.002). History: `strength` is that of the last per-image step, `weight` the share of the
    fused pattern each generator adds; `cosines` compare the image-level patterns.
    """

    name: ClassVar[str] = "cmua"
    idea: ClassVar[str] = "per-image PGD, averaged over the batch, fused generator by generator"
    inner: int = 10
    share: float = 0.2
    momentum: float = 0.5
    factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise ValueError(f"inner is out of range: {self.inner}, must be at least 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is out of range: {self.share}, must be in (0, 1]")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is out of range: {self.momentum}, must be in [0, 1)")

    @property
    def cost(self) -> float:
        return float(self.inner)

    def loop(self, config: PerturbationConfig, n: int) -> PerturbationConfig:
        steps = max(1, round(config.steps / self.inner))
        return replace(config, steps=steps, step_size=self.share * config.eps, momentum=0.0,
                       feature_weight=0.0, feature_steps=0, universal=True)  # fmt: skip

    def states(
        self,
        zoo: Zoo,
        faces: FaceBatch,
        rule: Weighting,
        config: PerturbationConfig,
        state: State | None,
        hooks: Hooks,
        *machine: Any,
    ) -> Iterator[State]:
        names = [n for n in ORDER if n in zoo] + [n for n in zoo if n not in ORDER]
        if state is None:
            nothing = torch.zeros(1, *faces.images.shape[1:])
            state = State(nothing, nothing.clone())
        while state.step < config.steps:
            batch = faces[batch_rows(len(faces), state.step, config).tolist()]
            fresh = replace(config, seed=config.seed + 1000 * (state.step + 1))
            levels, rows = {}, {}
            for name in names:
                alone = {name: zoo[name]}
                levels[name], rows[name] = self._image_level(alone, batch, fresh, hooks, machine)
                first = state.step == 0 and len(levels) == 1
                state.delta = fuse(None if first else state.delta, levels[name], self.momentum)
            self._record(state, zoo, names, levels, rows)
            state.step += 1
            yield state

    def _image_level(
        self,
        alone: Zoo,
        batch: FaceBatch,
        config: PerturbationConfig,
        hooks: Hooks,
        machine: tuple[Any, ...],
    ) -> tuple[Tensor, dict]:
        """eta of one generator, shape [1, 3, H, W], and the last line of its history."""
        attack = replace(config, steps=self.inner, batch=len(batch), universal=False)
        *_, last = perturb(alone, batch, make_rule("uniform"), attack, None, hooks, *machine)
        scaled = self.factors.get(next(iter(alone)), 1.0) * last.delta.cpu()
        bounded = hooks.budget.project(scaled, config.eps)
        return bounded.mean(dim=0, keepdim=True), last.history[-1]

    def _record(
        self, state: State, zoo: Zoo, names: list[str], levels: dict[str, Tensor], rows: dict
    ) -> None:
        weights = fused_shares(names, self.momentum)
        state.history += [{**rows[n], "step": state.step, "weight": weights[n]} for n in zoo]
        unit = F.normalize(torch.cat([levels[n] for n in zoo]).flatten(1).double(), dim=1)
        state.cosines.append((unit @ unit.T).tolist())


def fuse(universal: Tensor | None, level: Tensor, momentum: float) -> Tensor:
    """Model-level fusion: u <- m u + (1 - m) eta, or eta where there is no u yet."""
    return level if universal is None else momentum * universal + (1 - momentum) * level


def fused_shares(names: list[str], momentum: float) -> dict[str, float]:
    """How much each generator's newest pattern counts in u after a round in this order; sum 1.

    The last one attacked counts most: 8 / 15, 4 / 15, 2 / 15, 1 / 15 backwards at m = 0.5.
    """
    raw = {name: momentum ** (len(names) - 1 - k) for k, name in enumerate(names)}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}
