"""Does a perturbation survive what happens to photos, and what an attacker does to them?

A transformation maps published photos to photos, both [B, 3, H, W] in [-1, 1]. The perturbed photo
and the clean one go through the *same* transformation, and the two forgeries are compared: what is
measured is what the perturbation still does behind the channel. Against the forgery of the
untouched photo, a blur alone would count as an interruption, though nobody protected anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import median_filter
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor
from torchvision.transforms.functional import center_crop, gaussian_blur
from tqdm.auto import tqdm

from aef_core.errors import BadInput
from aef_core.faces import from_uint8, to_uint8
from aef_core.faces.pictures import jpeg_copy
from aef_core.metrics import SUCCESS_THRESHOLD, Evaluator, l2_mask
from aef_core.perturbation.objective import seeded
from companion.studies.differences import RANDOM, above_random

Transform = Callable[[Tensor], Tensor]


def publish(x: Tensor) -> Tensor:
    """Clamped to [-1, 1] and rounded once to 8 bits: what saving without loss does."""
    return from_uint8(to_uint8(x))


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Through Pillow's JPEG encoder, 4:4:4 at quality 100, else its default 4:2:0."""
    if not 1 <= quality <= 100:
        raise BadInput(f"quality is out of range: {quality}, must be in 1 to 100")
    frames = []
    for pixels in to_uint8(x).permute(0, 2, 3, 1).cpu().numpy():
        subsampling = 0 if quality == 100 else 2
        frames.append(np.asarray(jpeg_copy(Image.fromarray(pixels), quality, subsampling)))
    decoded = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return from_uint8(decoded).to(x.device)


def resize(x: Tensor, factor: float) -> Tensor:
    """Smaller and back to size, bilinear with anti-aliasing; `factor` of the side, in (0, 1]."""
    small = [max(1, round(side * factor)) for side in x.shape[-2:]]
    x_small = F.interpolate(x, size=small, mode="bilinear", antialias=True)
    return F.interpolate(x_small, size=x.shape[-2:], mode="bilinear")


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, `sigma` in pixels, window of 6 sigma."""
    return gaussian_blur(x, [2 * int(np.ceil(3 * sigma)) + 1] * 2, [sigma] * 2)


def noise(x: Tensor, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Gaussian pixel noise of standard deviation `std` ([-1, 1] units), the same on every call
    unless a generator is given, so that clean and protected photos meet the same noise."""
    draw = generator or seeded(0, "noise")
    return (x + std * torch.randn(x.shape, generator=draw).to(x)).clamp(-1, 1)


def crop(x: Tensor, share: float) -> Tensor:
    """The central `share` of the side, enlarged back to size: a photo framed anew."""
    middle = center_crop(x, [round(side * share) for side in x.shape[-2:]])
    return F.interpolate(middle, size=x.shape[-2:], mode="bilinear")


def median(x: Tensor, size: int = 3) -> Tensor:
    """Median filter, `size` odd, per channel: a purifier against isolated pixels."""
    smooth = median_filter(x.cpu().numpy(), size=(1, 1, size, size), mode="mirror")
    return torch.from_numpy(smooth).to(x)


def purify(x: Tensor, weight: float = 0.05) -> Tensor:
    """A user-side purifier: total-variation denoising (Chambolle 2004, by scikit-image).

    Flattens small changes and keeps edges; `weight` is in units of [0, 1] images, larger is
    smoother.
    """
    unit = ((x + 1) / 2).clamp(0, 1).cpu().numpy()
    smooth = np.stack([denoise_tv_chambolle(p, weight=weight, channel_axis=0) for p in unit])
    return (torch.from_numpy(smooth).to(x) * 2 - 1).clamp(-1, 1)


# Every channel but the first starts from the 8-bit photo that is published.
TRANSFORMS: dict[str, Transform] = {
    "unrounded": lambda x: x.clamp(-1, 1),
    "8-bit": publish,
    "JPEG 90": lambda x: jpeg(x, 90),
    "JPEG 75": lambda x: jpeg(x, 75),
    "JPEG 50": lambda x: jpeg(x, 50),
    "resize 1/2": lambda x: resize(publish(x), 0.5),
    "blur 1 px": lambda x: blur(publish(x), 1.0),
    "noise 0.05": lambda x: noise(publish(x), 0.05),
    "crop 90 %": lambda x: crop(publish(x), 0.9),
    "median 3x3": lambda x: median(publish(x)),
    "TV purifier": lambda x: purify(publish(x)),
}


def survival(
    evaluator: Evaluator,
    deltas: Tensor | Mapping[str, Tensor],
    transforms: Mapping[str, Transform] | None = None,
    edits: int | None = None,
) -> pd.DataFrame:
    """Interruption behind each transformation T.

    Formula: L2_mask between G(T(x)) and G(T(x + d)), its mask from G(T(x)) and T(x).

    Parameters
    ----------
    evaluator : Evaluator
        Zoo and faces no perturbation was optimised on.
    deltas : Tensor or mapping of label to Tensor, each of shape [1 or N, 3, H, W]
    transforms : mapping of name to callable, optional
        All of `TRANSFORMS` by default.
    edits : int, optional
        Only the first so many edits of each generator; all by default.

    Returns
    -------
    DataFrame, one row per perturbation, transformation and generator: method, transform, model,
    l2_mask, sr_mask (means over images and edits), pairs, excluded (empty masks); where one of the
    labels is "random" also `above`: is the perturbation clearly above it behind this channel?
    """
    deltas = {"perturbation": deltas} if isinstance(deltas, Tensor) else deltas
    images = evaluator.faces.images
    tables = []
    for name, transform in tqdm((transforms or TRANSFORMS).items(), desc="survival", leave=False):
        x = transform(images)
        protected = {label: transform(images + d.detach().cpu()) for label, d in deltas.items()}
        names, blocks = list(evaluator.faces.names), []
        for model, generator in evaluator.zoo.items():
            for edit in generator.edits[:edits]:
                clean = evaluator.forge(x, model, edit)
                for label, y in protected.items():
                    values = l2_mask(clean, evaluator.forge(y, model, edit), x).double().numpy()
                    row = {"method": label, "model": model, "edit": edit, "image": names}
                    blocks.append(pd.DataFrame({**row, "l2_mask": values}))
        tables.append(_means(pd.concat(blocks, ignore_index=True)).assign(transform=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["method", "transform", *(c for c in table if c not in ("method", "transform"))]]


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Means behind one channel, per generator and perturbation, and whether these beat random."""
    table = table.assign(excluded=table["l2_mask"].isna())
    table["sr_mask"] = (table["l2_mask"] > SUCCESS_THRESHOLD).where(~table["excluded"])
    groups = table.groupby(["model", "method"], sort=False)
    rows = groups[["l2_mask", "sr_mask"]].mean()
    rows = rows.assign(pairs=groups["l2_mask"].count(), excluded=groups["excluded"].sum())
    if RANDOM in set(table["method"]):
        rows["above"] = above_random(table)["above"].reindex(rows.index.swaplevel()).to_numpy()
    return rows.reset_index()


def interrupting(
    evaluator: Evaluator, deltas: Mapping[str, Tensor], edits: int | None = None
) -> tuple[dict[str, Tensor], list[str]]:
    """What has something to lose: perturbations that interrupt a generator, and those generators.

    To interrupt is a mean L2_mask of the published photo above `SUCCESS_THRESHOLD`. Where none
    does, the strongest perturbation and the generator that it moves most. Parameters as of
    `survival`.
    """
    table = survival(evaluator, deltas, {"8-bit": publish}, edits)
    strong = table[table["l2_mask"] > SUCCESS_THRESHOLD]
    worth = table.loc[[table["l2_mask"].idxmax()]] if strong.empty else strong
    stressed = {label: d for label, d in deltas.items() if label in set(worth["method"])}
    return stressed, [name for name in evaluator.zoo if name in set(worth["model"])]


@dataclass(frozen=True)
class Expectation:
    """Expectation over transformations (Athalye et al., ICML 2018), one random channel a step.

    Drawn from: nothing, blur (sigma 0.5 to 1.5), resize (0.4 to 0.9), noise (std up to 0.1), JPEG
    (quality 40 to 95, its gradient taken as the identity's). None of them moves the picture, since
    the loop compares with the forgery of the untouched photo.
    """

    name: str = "expectation: blur, resize, noise, JPEG"

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        kind = int(torch.randint(5, (), generator=generator))
        u = torch.rand((), generator=generator).item()
        if kind == 1:
            return blur(x, 0.5 + u)
        if kind == 2:
            return resize(x, 0.4 + 0.5 * u)
        if kind == 3:
            return noise(x, 0.1 * u, generator)
        if kind == 4:
            return x + (jpeg(x.detach(), round(40 + 55 * u)) - x).detach()
        return x
