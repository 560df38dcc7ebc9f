"""An independent attribute classifier: judges edits, and labels faces that come without labels.

It shares neither architecture, seed nor training with any critic of the zoo, so an edit that only
fooled its own critic is not taken for a success.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.config import ASSETS
from aef_core.models.base import ATTRIBUTES, DeepfakeModel, attribute_index


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
        )
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(F.avg_pool2d(x, 2))


class AttributeClassifier(nn.Module):
    """A small pre-activation residual network for 64-pixel faces; 13 logits, one per attribute."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1),
            _Residual(width, width),
            _Residual(width, 2 * width),
            _Residual(2 * width, 4 * width),
            _Residual(4 * width, 6 * width),
            nn.BatchNorm2d(6 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(6 * width, len(ATTRIBUTES)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape [B, 13], of images in [-1, 1] of any size (resized to 64)."""
        if x.shape[-1] != 64:
            x = F.interpolate(x, size=(64, 64), mode="bilinear", antialias=True)
        return self.net(x)


@lru_cache(maxsize=1)
def load_classifier() -> AttributeClassifier:
    """The embedded classifier, frozen, on the CPU."""
    from aef_core.models.weights import load_weights

    model = AttributeClassifier()
    load_weights(model, ASSETS / "classifier64.safetensors")
    return model.eval().requires_grad_(False)


@torch.no_grad()
def predict_attributes(images: Tensor) -> Tensor:
    """Attributes of faces in [-1, 1], shape [B, 13], uint8 0 or 1."""
    parts = [load_classifier()(x.cpu()) > 0 for x in images.split(128) if len(x)]
    return torch.cat([torch.empty(0, len(ATTRIBUTES), dtype=torch.bool), *parts]).to(torch.uint8)


def shows_edit(model: DeepfakeModel, edit: str, attributes: Tensor, images: Tensor) -> np.ndarray:
    """Whether the judge sees in each image what the edit asks for, shape [B], bool.

    Parameters
    ----------
    attributes : Tensor, shape [B, 13]
        Of the faces before the edit: they decide what a flip asks for.
    images : Tensor, shape [B, 3, H, W], values in [-1, 1]
    """
    column = attribute_index(edit)
    wanted = model.target_attributes(attributes, edit)[:, column]
    return (predict_attributes(images)[:, column] == wanted).numpy()


def edit_status(
    model: DeepfakeModel, edit: str, attributes: Tensor, photos: Tensor, forged: Tensor
) -> np.ndarray:
    """Which edits work when nothing protects the photo: only those can be undone.

    Parameters
    ----------
    attributes, photos : Tensor, shape [N, 13]
        Of the faces before the edit, as labelled and as `predict_attributes` sees them.
    forged : Tensor, shape [N, 3, H, W], values in [-1, 1]

    Returns
    -------
    ndarray of str, shape [N]: "works" (the judge sees the edit in the forgery, and neither label
    nor judge sees it in the photo), "already there" (one of them does), "never seen".
    """
    column = attribute_index(edit)
    wanted = model.target_attributes(attributes, edit)[:, column]
    asked = (attributes[:, column] != wanted) & (photos[:, column] != wanted)
    status = np.full(len(attributes), "already there", dtype=object)
    seen = shows_edit(model, edit, attributes[asked], forged[asked])
    status[asked.numpy()] = np.where(seen, "works", "never seen")
    return status


def edit_outcomes(
    status: np.ndarray, shown: np.ndarray, changed: np.ndarray
) -> dict[str, np.ndarray]:
    """What protection made of each edit.

    Parameters
    ----------
    status : ndarray of str, shape [N]
        As of `edit_status`; what is not "works" stays as it is and does not count.
    shown : ndarray of bool, shape [number of "works"]
        Whether the judge still sees the edit.
    changed : ndarray of bool, shape [N]
        Whether L2_mask reaches the threshold.

    Returns
    -------
    dict of `outcome`, "unaffected" (still seen, not changed), "changed" (still seen, changed) or
    "undone" (no longer seen), and `survives`: 1, 1, 0, or NaN where the edit does not count.
    """
    works = status == "works"
    survives, outcome = np.full(len(status), np.nan), status.copy()
    survives[works] = shown
    seen = np.where(changed[works], "changed", "unaffected")
    outcome[works] = np.where(shown, seen, "undone")
    return {"outcome": outcome, "survives": survives}
