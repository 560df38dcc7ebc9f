"""What is maximised: how far a generator's output and feature move from what they were."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.generators import DeepfakeModel

Zoo = Mapping[str, DeepfakeModel]


@dataclass(frozen=True)
class References:
    """Clean outputs and features of one generator: they do not depend on delta, so computed once.

    Each image carries one random edit per generator, drawn from the seed.
    """

    conditions: Tensor  # [N, c]
    outputs: Tensor  # [N, 3, H, W]
    features: Tensor  # [N, C, h, w]


@torch.no_grad()
def clean_references(zoo: Zoo, faces: FaceBatch, seed: int, batch: int) -> dict[str, References]:
    """What every generator makes of the clean faces."""
    references = {}
    for name, model in zoo.items():
        device = next(model.parameters()).device
        # the draw depends on the name, not on the place in the zoo: a specialist run on one
        # generator sees the same edits as a run on all
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
    image, feature = model.forward_with_feature(x, reference.conditions[rows])
    output_mse = F.mse_loss(image, reference.outputs[rows])
    feature_mse = F.mse_loss(feature, reference.features[rows])
    strength = (1 - feature_weight) * output_mse + feature_weight * feature_mse
    return strength, output_mse, feature_mse


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
    """Randomness from the seed and its purpose alone, so that a resumed run draws the same."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {purpose}".encode()))
