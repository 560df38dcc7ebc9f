"""What a generator hides in its forgeries, and at which spatial frequencies.

A cycle-trained generator must be able to undo its edit, so what the edit destroys has to survive in
the forgery, as faint patterns (Chu et al., "CycleGAN, a Master of Steganography", arXiv
1712.02950). Damage the forgery a little, and the error of the way back shows how much it relied on
them.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.models import DeepfakeModel, HiSD

OCTAVES = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # edges of bands, cycles per pixel
DAMAGES: dict[str, tuple[float, ...]] = {
    "none": (0.0,),
    "noise": (0.02, 0.05, 0.1),  # standard deviation, in [-1, 1] units
    "levels": (64, 16),  # grey values left of 256
    "low-pass": (0.25, 0.125),  # cutoff, cycles per pixel
}


def _radius(size: tuple[int, int], like: Tensor) -> Tensor:
    """Radial frequency of every entry of an `rfft2`, cycles per pixel, shape [H, W // 2 + 1]."""
    y = torch.fft.fftfreq(size[0], device=like.device)[:, None]
    x = torch.fft.rfftfreq(size[1], device=like.device)[None]
    return torch.hypot(y, x)


def low_pass(x: Tensor, cutoff: float) -> Tensor:
    """A Gaussian low-pass filter that leaves half of the power at `cutoff` (cycles per pixel).

    Parameters
    ----------
    x : Tensor, shape [B, C, H, W]
    cutoff : float
        0.5 is the finest stripe a picture can hold; infinity filters nothing.
    """
    if math.isinf(cutoff):
        return x
    size = tuple(x.shape[-2:])
    gain = torch.exp(-0.5 * math.log(2) * (_radius(size, x) / cutoff).square())
    return torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=size)


def band_power(x: Tensor, edges: Sequence[float] = OCTAVES) -> Tensor:
    """Mean power per radial frequency band, [low, high), shape [len(edges) - 1].

    The bands' powers sum to the mean squared value (Parseval).
    """
    size = tuple(x.shape[-2:])
    power = torch.fft.fft2(x).abs().square().flatten(0, -3).mean(dim=0) / (size[0] * size[1]) ** 2
    y, z = (torch.fft.fftfreq(n, device=x.device) for n in size)
    radius = torch.hypot(y[:, None], z[None])
    pairs = pairwise(edges)
    return torch.stack([power[(radius >= low) & (radius < high)].sum() for low, high in pairs])


def damage(images: Tensor, kind: str, level: float, seed: int = 0) -> Tensor:
    """The images after a faint damage, one of `DAMAGES`.

    Raises
    ------
    ValueError
        Unknown kind.
    """
    if kind == "none":
        return images
    if kind == "noise":
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        return images + level * noise.to(images)
    if kind == "levels":
        steps = (level - 1) / 2
        return ((images + 1) * steps).round() / steps - 1
    if kind == "low-pass":
        return low_pass(images, level)
    raise BadInput(f"unknown damage {kind!r}; known: {', '.join(DAMAGES)}")


def mixed_conditions(model: DeepfakeModel, attributes: Tensor) -> Tensor:
    """Conditions of one edit per face, taking the generator's edits in turn; shape [N, c]."""
    edits = [model.edits[i % len(model.edits)] for i in range(len(attributes))]
    rows = [model.conditions(attributes[i : i + 1], edit) for i, edit in enumerate(edits)]
    return torch.cat(rows)


def own_conditions(model: DeepfakeModel, images: Tensor, attributes: Tensor) -> Tensor:
    """The conditions that ask for the faces as they were: the way back of a cycle.

    HiSD takes the style of the tag that was edited from the face itself.
    """
    if isinstance(model, HiSD):
        edits = [model.edits[i % len(model.edits)] for i in range(len(attributes))]
        rows = [
            model.conditions(attributes[i : i + 1], edit, reference=images[i : i + 1])
            for i, edit in enumerate(edits)
        ]
        return torch.cat(rows)
    return model.keep_condition(images, attributes)


@torch.no_grad()
def way_back(
    model: DeepfakeModel,
    faces: FaceBatch,
    damages: Mapping[str, Sequence[float]] = DAMAGES,
) -> pd.DataFrame:
    """Error of undoing an edit when the forgery was damaged, and of returning a damaged photo.

    The second is the control: the error that damage causes without anything hidden, since nothing
    was edited.

    Returns
    -------
    DataFrame with columns damage, level, of ("forgery" or "photo") and error: mean |G(.) - x| over
    pixels, one row per face and setting; column image names the face.
    """
    x, attributes = faces.images, faces.attributes
    own = own_conditions(model, x, attributes)
    forged = model(x, mixed_conditions(model, attributes))
    rows = []
    for kind, level in ((k, v) for k, levels in damages.items() for v in levels):
        for of, images in (("forgery", forged), ("photo", x)):
            back = model(damage(images, kind, level), own)
            errors = (back - x).abs().mean(dim=(1, 2, 3)).tolist()
            setting = {"damage": kind, "level": level, "of": of}
            rows += [
                {"image": n, **setting, "error": e}
                for n, e in zip(faces.names, errors, strict=True)
            ]
    return pd.DataFrame(rows)


class Filtered(DeepfakeModel):
    """A generator whose forger smooths every photo before editing it.

    Parameters
    ----------
    model : DeepfakeModel
    cutoff : float
        Of `low_pass`, cycles per pixel.
    """

    def __init__(self, model: DeepfakeModel, cutoff: float) -> None:
        super().__init__()
        self.model, self.name = model, model.name
        self.image_size, self.edits = model.image_size, model.edits
        self.register_buffer("cutoff", torch.tensor(float(cutoff)))  # part of a run's identity

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode(low_pass(x, self.cutoff.item()), c)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        return self.model.decode(codes, low_pass(x, self.cutoff.item()), c)

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        return self.model.conditions(attributes, edit)

    def target_attributes(self, attributes: Tensor, edit: str) -> Tensor:
        return self.model.target_attributes(attributes, edit)
