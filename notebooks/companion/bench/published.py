"""The loop as the published code of this field runs it, written out plainly, for comparison.

After reading train.py and get_output.py of TSDF (github.com/vpsg-research/TSDF, commit ee45870),
whose authors are AEF's; CMUA and FOUND's descendants share its habits. Our own words, none of
its code. What costs time there, and is a switch here:

- the clean outputs are computed anew in every step, one generator after the other;
- the generators' weights are left trainable, so each backward pass also computes their gradients;
- a feature step runs the whole generators, clean and protected, though only the encoders count;
- in a feature step every channel is resized before the channels are summed (no switch: a detail);
- the CUDA cache is emptied after every generator.

Its style extraction in every HiSD call and its input diversity per generator are left out,
which favours it.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, batch_rows, initial_state
from aef_core.perturbation.objective import FEATURE_SIDE, Zoo, clean_references
from aef_core.weighting import Feedback, Weighting


@dataclass(frozen=True)
class Habits:
    """What the published loop does that ours does not; switch one off to see what it costs."""

    clean_each_step: bool = True
    parameter_gradients: bool = True
    whole_generators: bool = True  # in feature steps
    empty_cache: bool = True  # CUDA only


PUBLISHED = Habits()


def published_steps(
    zoo: Zoo,
    faces: FaceBatch,
    rule: Weighting,
    config: PerturbationConfig,
    habits: Habits = PUBLISHED,
) -> Iterator[Tensor]:
    """Optimise as the published code does; yields the perturbation after every step.

    Images, edits, start, batches and update are those of `perturb`.
    """
    loop = _Loop(zoo, faces, config, habits)
    for step in range(config.steps):
        rows = batch_rows(len(loop.images), step, config)
        for _ in range(config.feature_steps):
            loop.feature_step(rows)
        loop.output_step(rows, rule)
        yield loop.delta


class _Loop:
    """The perturbation and what the published loop does with it."""

    def __init__(
        self, zoo: Zoo, faces: FaceBatch, config: PerturbationConfig, habits: Habits
    ) -> None:
        trainable = habits.parameter_gradients
        self.zoo = {n: copy.deepcopy(m).requires_grad_(trainable) for n, m in zoo.items()}
        self.config, self.habits = config, habits
        self.device = next(next(iter(zoo.values())).parameters()).device
        self.images = faces.images.to(self.device)
        self.references = clean_references(zoo, faces, config.seed, config.batch)
        self.delta = initial_state(self.images, config).delta
        self.velocity = torch.zeros_like(self.delta)

    def feature_step(self, rows: Tensor) -> None:
        """All features pooled, no weights; `objective.pooled` gives the same, cheaper."""
        x, features = self._input(rows), []
        for name in self.zoo:
            features.append(self._pair(name, rows, x, self.habits.whole_generators)[1::2])
            self._empty_cache()
        clean, moved = (_pooled(each) for each in zip(*features, strict=True))
        F.mse_loss(moved, clean).backward(retain_graph=True)
        self._move(self.delta.grad)

    def output_step(self, rows: Tensor, rule: Weighting) -> None:
        """One backward of the weighted sum of the strengths S_k."""
        x, strengths = self._input(rows), []
        self._empty_cache()
        share = self.config.feature_weight
        for name in self.zoo:
            clean, clean_feature, moved, moved_feature = self._pair(name, rows, x, whole=True)
            strength = (1 - share) * F.mse_loss(moved, clean)
            strength = strength + share * F.mse_loss(moved_feature, clean_feature)
            strengths.append(strength)
        values = torch.stack(strengths)
        known = values.detach().double().cpu()
        weights = rule(Feedback(known, torch.ones_like(known)))
        (weights.to(values) @ values).backward()
        self._update()

    def _input(self, rows: Tensor) -> Tensor:
        self.delta = self.delta.detach().requires_grad_()
        return self.images[rows] + self.delta

    def _pair(self, name: str, rows: Tensor, x: Tensor, whole: bool) -> tuple[Tensor | None, ...]:
        """Clean output and feature, then protected ones; the outputs None if not `whole`."""
        model, c = self.zoo[name], self.references[name].conditions[rows]

        def run(x: Tensor) -> tuple[Tensor | None, Tensor]:
            return model.forward_with_feature(x, c) if whole else (None, model.encode(x, c)[0])

        if self.habits.clean_each_step:
            with torch.no_grad():
                clean = run(self.images[rows])
        else:
            stored = self.references[name].at(rows)
            clean = (stored.outputs, stored.features)
        moved = run(x)
        model.zero_grad()
        return *clean, *moved

    def _update(self) -> None:
        gradient = self.delta.grad
        scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
        normalised = gradient / scale.clamp_min(torch.finfo(gradient.dtype).tiny)
        self.velocity = self.config.momentum * self.velocity + normalised
        self._move(self.velocity)

    def _move(self, direction: Tensor) -> None:
        moved = self.delta.detach() + self.config.step_size * direction.sign()
        self.delta = moved.clamp(-self.config.eps, self.config.eps)

    def _empty_cache(self) -> None:
        if self.habits.empty_cache and self.device.type == "cuda":
            torch.cuda.empty_cache()


def _pooled(features: tuple[Tensor, ...]) -> Tensor:
    side = min(FEATURE_SIDE, max(f.shape[-1] for f in features))
    resized = [F.interpolate(f, size=(side, side), mode="bilinear") for f in features]
    return torch.cat(resized, dim=1).sum(dim=1)
