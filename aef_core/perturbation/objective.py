"""What is maximised: how far the perturbation moves a generator's output and its feature."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.models import DeepfakeModel
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.execution import PLAIN, Execution

Zoo = Mapping[str, DeepfakeModel]
FEATURE_SIDE = 32  # pixels to which TSDF's code resizes the features of its 256-pixel generators


@dataclass(frozen=True)
class References:
    """What one generator makes of the clean faces, with one random edit for each face."""

    conditions: Tensor  # [N, c]
    outputs: Tensor  # [N, 3, H, W]
    features: Tensor  # [N, C, h, w]

    def at(self, rows: Tensor) -> "References":
        """The references of some faces, on the device and in the precision of the conditions."""
        c = self.conditions
        return References(c[rows], self.outputs[rows].to(c), self.features[rows].to(c))


@torch.no_grad()
def clean_references(zoo: Zoo, faces: FaceBatch, seed: int, batch: int) -> dict[str, References]:
    """The `References` of every generator, made `batch` faces at a time."""
    references = {}
    for name, model in zoo.items():
        device = next(model.parameters()).device
        # the draw depends on the name, not on the place in the zoo: a run on one generator
        # alone sees the same edits as a run on all
        generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
        draws = torch.randint(len(model.edits), (len(faces),), generator=generator).tolist()
        attributes = faces.attributes.to(device)
        conditions = torch.cat(
            [model.conditions(attributes[i : i + 1], model.edits[k]) for i, k in enumerate(draws)]
        )
        parts = [
            model.forward_with_feature(x.to(device), c)
            for x, c in zip(faces.images.split(batch), conditions.split(batch), strict=True)
        ]
        outputs, features = (torch.cat(part) for part in zip(*parts, strict=True))
        references[name] = References(conditions, outputs, features)
    return references


def interruption(
    model: DeepfakeModel, x: Tensor, reference: References, rows: Tensor, feature_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Strength S_k of a batch, and its output and feature terms (mean squared errors)."""
    clean = reference.at(rows)
    image, feature = model.forward_with_feature(x, clean.conditions)
    output_mse = F.mse_loss(image, clean.outputs)
    feature_mse = F.mse_loss(feature, clean.features)
    strength = (1 - feature_weight) * output_mse + feature_weight * feature_mse
    return strength, output_mse, feature_mse


@dataclass(frozen=True)
class Objective:
    """What the loop maximises, as two functions: clean references, and strength against them."""

    name: str = "interruption"
    references: Callable[[Zoo, FaceBatch, int, int], dict[str, References]] = clean_references
    strength: Callable[..., tuple[Tensor, Tensor, Tensor]] = interruption


INTERRUPTION = Objective()


@dataclass(frozen=True)
class Problem:
    """What a method has to solve: the generators to disturb, the faces, the bounds, the loss.

    A transformation is differentiable and draws anew at each step (expectation over
    transformations); its `name` identifies it in a run's config.
    """

    zoo: Zoo  # frozen generators, all on one device; ValueError if there is none
    faces: FaceBatch  # to optimise on; never the ones to evaluate on
    budget: Budget = BOX
    transform: Callable[[Tensor, torch.Generator], Tensor] | None = None
    objective: Objective = INTERRUPTION
    execution: Execution = PLAIN  # memory and speed

    def __post_init__(self) -> None:
        if not self.zoo:
            raise BadInput("the zoo is empty: nothing to optimise against")

    @property
    def device(self) -> torch.device:
        """Where the generators are."""
        return next(next(iter(self.zoo.values())).parameters()).device

    def identity(self) -> dict[str, Any]:
        """Whatever differs from the defaults, zoo and faces apart, for a run's config."""
        said = self.execution.identity()
        if self.budget != BOX:
            said |= {"budget": self.budget.identity()}
        if self.objective is not INTERRUPTION:
            said |= {"objective": self.objective.name}
        return said if self.transform is None else said | {"transform": self.transform.name}

    def model_input(
        self, images: Tensor, delta: Tensor, diversity: float, generator: torch.Generator
    ) -> Tensor:
        """What a generator is shown of protected images during optimisation: T(x + delta).

        As in the published loops x + delta may leave [-1, 1] by up to eps here; it is clamped where
        a transformation acts on it, and wherever a perturbation is judged or put on a photo.
        """
        x = diversified(images + self.budget.added(images, delta), diversity, generator)
        return x if self.transform is None else self.transform(x.clamp(-1, 1), generator)


def pooled(features: Iterable[Tensor]) -> Tensor:
    """Features of all generators as one map, summed over channels and generators, [B, h, w].

    As in FOUND's descendants and TSDF, so the generator with the largest activations dominates.
    The common side is that of the largest feature, 32 at most. Resizing is linear, so the sum over
    channels may come first: one map is resized instead of hundreds.
    """
    maps = [feature.sum(dim=1, keepdim=True) for feature in features]
    side = min(FEATURE_SIDE, max(m.shape[-1] for m in maps))
    return sum(F.interpolate(m, size=(side, side), mode="bilinear") for m in maps)[:, 0]


def wasserstein(moved: Tensor, clean: Tensor) -> Tensor:
    """Mean 1-Wasserstein distance of the values of two maps, [B, H, W]: of the sorted ones."""
    a, b = (x.flatten(1).sort(dim=1).values for x in (moved, clean))
    return (a - b).abs().mean()


FEATURE_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,  # TSDF's stage A
    "wasserstein": wasserstein,  # FOUND's stage 1
}


def diversified(x: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Input diversity: with some chance enlarge by up to 13 %, pad, and resize back."""
    if torch.rand((), generator=generator).item() >= chance:
        return x
    size = x.shape[-1]
    canvas = round(size * 290 / 256)
    small = int(torch.randint(size, canvas, (), generator=generator))
    left, top = torch.randint(canvas - small + 1, (2,), generator=generator).tolist()
    x = F.interpolate(x, size=(small, small), mode="bilinear")
    x = F.pad(x, (left, canvas - small - left, top, canvas - small - top))
    return F.interpolate(x, size=(size, size), mode="bilinear")


def seeded(seed: int, purpose: str) -> torch.Generator:
    """A generator seeded by `seed` and `purpose` alone, so that a resumed run draws the same."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {purpose}".encode()))
