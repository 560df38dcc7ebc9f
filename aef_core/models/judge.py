"""An independent attribute classifier: judges edits, and labels faces that come without labels.

It was trained on the photographs of the zoo's critic but shares no network with it, so an edit
that fools the critic need not fool the judge.
"""

import json
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.config import ASSETS
from aef_core.models.base import ATTRIBUTES
from aef_core.models.weights import load_weights


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        )
        self.skip = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(F.avg_pool2d(x, 2))


class AttributeClassifier(nn.Module):
    """A small pre-activation residual network for 128-pixel faces; 13 logits, one per attribute."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 160, 192)) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, widths[0], 5, 2, 2),
            *(_Residual(a, b) for a, b in pairwise(widths)),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(widths[-1], len(ATTRIBUTES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 13], of images in [-1, 1] of any size (resized to 128)."""
        if x.shape[-1] != 128:
            x = F.interpolate(x, size=(128, 128), mode="bilinear", antialias=True)
        return self.net(x)


@lru_cache(maxsize=1)
def load_classifier() -> AttributeClassifier:
    """The embedded classifier, frozen, on the CPU."""
    model, entry = AttributeClassifier(), json.loads((ASSETS / "judge.json").read_text())["judge"]
    load_weights(model, ASSETS / entry["file"], sha256=entry["sha256"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def predict_attributes(images: Tensor) -> Tensor:
    """Attributes of faces in [-1, 1], shape [B, 13], uint8 0 or 1."""
    parts = [load_classifier()(x.cpu()) > 0 for x in images.split(128) if len(x)]
    return torch.cat([torch.empty(0, len(ATTRIBUTES), dtype=torch.bool), *parts]).to(torch.uint8)
