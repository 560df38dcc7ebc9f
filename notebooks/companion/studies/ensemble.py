"""Four attribute classifiers of different architecture: targets of the rules beside generators.

Small on purpose, and unlike each other: plain convolutions, residual blocks, separable
convolutions, and attention over patches. All read 64-pixel faces in [-1, 1].
"""

import hashlib
import json
from itertools import pairwise

import torch
from torch import Tensor, nn

from aef_core.models.weights import BadCheckpoint, load_weights
from companion.config import ASSETS

ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young", "Mouth_Slightly_Open")
FOLDER = ASSETS / "classifiers64"
SIDE = 64  # pixels of the faces they read


def _convolution(a: int, b: int, side: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(a, b, side, stride, side // 2, groups=groups, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(),
    )


def _head(channels: int) -> nn.Sequential:
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    return nn.Sequential(*pooled, nn.Linear(channels, len(ATTRIBUTES)))


class ConvNet(nn.Module):
    """Plain strided convolutions, after VGG (Simonyan & Zisserman 2015)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 6 * width)
        steps = pairwise(widths)
        self.net = nn.Sequential(*(_convolution(a, b, stride=2) for a, b in steps))
        self.head = _head(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 6]."""
        return self.head(self.net(x))


class _Block(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(a, b, stride=stride),
            nn.Conv2d(b, b, 3, 1, 1, bias=False),
            nn.BatchNorm2d(b),
        )
        self.skip = nn.Conv2d(a, b, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.skip(x)).relu()


class ResNet(nn.Module):
    """Residual blocks (He et al. 2016)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _convolution(3, width, stride=2),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 2 * width, 1),
            _Block(2 * width, 4 * width, 2),
        )
        self.head = _head(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 6]."""
        return self.head(self.net(x))


class MobileNet(nn.Module):
    """Depthwise, then pointwise convolutions (Howard et al. 2017)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, width, stride=2)]
        for a, b, stride in ((1, 3, 2), (3, 4, 1), (4, 6, 2), (6, 8, 1)):
            depth, out = a * width, b * width
            layers += [_convolution(depth, depth, 3, stride, groups=depth)]
            layers += [_convolution(depth, out, 1)]
        self.net = nn.Sequential(*layers)
        self.head = _head(8 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 6]."""
        return self.head(self.net(x))


class ViT(nn.Module):
    """Attention over patches (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int = 80, depth: int = 3, patch: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIDE // patch) ** 2, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(ATTRIBUTES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 6]."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens).mean(dim=1))


CLASSIFIERS: dict[str, type[nn.Module]] = {
    "ConvNet": ConvNet,
    "ResNet": ResNet,
    "MobileNet": MobileNet,
    "ViT": ViT,
}


def load_ensemble(device: str | torch.device = "cpu") -> dict[str, nn.Module]:
    """The embedded classifiers by name, frozen, in eval mode.

    Raises
    ------
    BadCheckpoint
        A file is missing or does not match its SHA-256.
    """
    ensemble = {}
    for name, entry in ensemble_table().items():
        path = FOLDER / entry["file"]
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            raise BadCheckpoint(f"{path} is missing or changed: reinstall the package")
        model = CLASSIFIERS[entry["architecture"]](**entry["settings"])
        load_weights(model, path)
        ensemble[name] = model.eval().requires_grad_(False).to(device)
    return ensemble


def ensemble_table() -> dict[str, dict]:
    """Architecture, checksum and training record, with held-out accuracy, of each classifier."""
    return json.loads((FOLDER / "ensemble.json").read_text())
