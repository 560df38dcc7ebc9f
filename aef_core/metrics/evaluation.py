"""How well a perturbation interrupts, how evenly, and how visible it is: one block for all."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from aef_core.faces import FaceBatch, from_uint8, to_uint8
from aef_core.models import DeepfakeModel
from aef_core.models.base import check_size

MASK_THRESHOLD = 0.5  # sum over RGB of |G(x) - x|, in [-1, 1] units
SUCCESS_THRESHOLD = 0.05  # L2_mask above it counts as interrupted


def protect(images: Tensor, delta: Tensor) -> Tensor:
    """The image a person would publish: perturbed, clamped to [-1, 1], rounded once to 8 bits.

    Parameters
    ----------
    images : Tensor, shape [B, 3, H, W], values in [-1, 1]
    delta : Tensor, shape [1 or B, 3, H, W]
    """
    return from_uint8(to_uint8(images + delta))


def l2_mask(forged: Tensor, disturbed: Tensor, original: Tensor) -> Tensor:
    """Mean squared change of a forgery inside the region it edits.

    Formula: m = 1[sum_RGB |G(x) - x| > 0.5], L2_mask = sum(((G(x + d) - G(x)) m)^2) / (3 sum m).
    Source: CMUA (arXiv 2105.10872); there, as shipped, a batch shares the first image's mask.

    Parameters
    ----------
    forged, disturbed, original : Tensor, shape [B, 3, H, W]
        G(x), G(x + d) and x, in [-1, 1].

    Returns
    -------
    Tensor, shape [B], >= 0; NaN where the mask is empty, that is where the generator edits nothing
    and there is nothing to interrupt.
    """
    mask = ((forged - original).abs().sum(dim=1, keepdim=True) > MASK_THRESHOLD).to(forged.dtype)
    squared = ((disturbed - forged).square() * mask).sum(dim=(1, 2, 3))
    return squared / (3 * mask.sum(dim=(1, 2, 3)))


def psnr(a: Tensor, b: Tensor) -> np.ndarray:
    """Peak signal-to-noise ratio of image pairs in [-1, 1], in dB, shape [B]; inf if equal."""
    pairs = zip(*_unit(a, b), strict=True)
    with np.errstate(divide="ignore"):
        return np.array([peak_signal_noise_ratio(p, q, data_range=1.0) for p, q in pairs])


def ssim(a: Tensor, b: Tensor) -> np.ndarray:
    """Structural similarity of image pairs in [-1, 1], shape [B], values in [-1, 1].

    The standard one: 11-pixel Gaussian window (sigma 1.5), data range 1, mean over RGB
    (Wang et al. 2004). The peers' window of 3 gives higher values and is not comparable.
    """
    return np.array(
        [
            structural_similarity(
                p,
                q,
                data_range=1.0,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for p, q in zip(*_unit(a, b), strict=True)
        ]
    )


def _unit(*images: Tensor) -> Iterable[np.ndarray]:
    return (((x + 1) / 2).clamp(0, 1).double().cpu().numpy() for x in images)


class Evaluator:
    """Judges perturbations on one set of faces, keeping the clean forgeries between calls.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces no perturbation was optimised on.
    batch : int
        Images per forward pass; changes speed, not results.

    Raises
    ------
    ValueError
        Faces, or later a perturbation, of another size than the generators'.
    """

    def __init__(self, zoo: Mapping[str, DeepfakeModel], faces: FaceBatch, batch: int = 32) -> None:
        check_size(zoo, faces.images)
        self.zoo, self.faces, self.batch = zoo, faces, batch
        self._forged: dict[tuple[str, str], Tensor] = {}

    def forged(self, name: str, edit: str) -> Tensor:
        """The clean forgery G(x) of every face, made once; shape [N, 3, H, W], on the CPU."""
        if (name, edit) not in self._forged:
            self._forged[name, edit] = self.forge(self.faces.images, name, edit)
        return self._forged[name, edit]

    @torch.no_grad()
    def forge(self, images: Tensor, name: str, edit: str) -> Tensor:
        """What generator `name` makes of images, shape [N, 3, H, W], on the CPU."""
        model = self.zoo[name]
        device = next(model.parameters()).device
        attributes = self.faces.attributes
        return torch.cat(
            [
                model(x.to(device), model.conditions(a.to(device), edit)).cpu()
                for x, a in zip(images.split(self.batch), attributes.split(self.batch), strict=True)
            ]
        )

    def __call__(self, delta: Tensor) -> pd.DataFrame:
        """One row per image, generator and edit.

        Returns
        -------
        DataFrame with columns image, model, edit, l2_mask (NaN where `excluded`), interrupted,
        excluded (empty mask), psnr (dB) and ssim of the protected image against the original.
        """
        check_size(self.zoo, delta)
        protected = protect(self.faces.images, delta.detach().cpu())
        visible = {
            "psnr": psnr(self.faces.images, protected),
            "ssim": ssim(self.faces.images, protected),
        }
        blocks = []
        for name, edit in ((n, e) for n, model in self.zoo.items() for e in model.edits):
            forged, disturbed = self.forged(name, edit), self.forge(protected, name, edit)
            values = l2_mask(forged, disturbed, self.faces.images).numpy()
            blocks.append(
                pd.DataFrame(
                    {
                        "image": list(self.faces.names),
                        "model": name,
                        "edit": edit,
                        "l2_mask": values,
                        "interrupted": values > SUCCESS_THRESHOLD,
                        "excluded": np.isnan(values),
                        **visible,
                    }
                )
            )
        return pd.concat(blocks, ignore_index=True)


def evaluate(
    zoo: Mapping[str, DeepfakeModel], faces: FaceBatch, delta: Tensor, batch: int = 32
) -> pd.DataFrame:
    """Judge one perturbation; see `Evaluator`, which is cheaper for several."""
    return Evaluator(zoo, faces, batch)(delta)


def per_model(table: pd.DataFrame) -> pd.DataFrame:
    """Mean L2_mask, SR_mask and count of pairs per generator, empty masks left out and counted."""
    kept = table[~table["excluded"]].groupby("model", sort=False)
    summary = pd.DataFrame(
        {
            "l2_mask": kept["l2_mask"].mean(),
            "sr_mask": kept["interrupted"].mean(),
            "pairs": kept.size(),
        }
    )
    excluded = table.groupby("model", sort=False)["excluded"].sum()
    return summary.reindex(excluded.index).assign(excluded=excluded)


def balance(values: ArrayLike) -> dict[str, Any]:
    """How evenly generators are interrupted, from one value (mean L2_mask or SR_mask) each.

    Parameters
    ----------
    values : array_like, shape [..., K]
        A value per generator; leading axes, for example bootstrap draws, stay.

    Returns
    -------
    dict with `min` (the worst protected generator), `mean`, `spread` (max - min) and `cv`
    (population standard deviation over mean), each of shape [...].
    """
    v = np.asarray(values, dtype=float)
    mean = v.mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cv = np.where(mean > 0, v.std(axis=-1) / mean, np.nan)
    low, high = v.min(axis=-1), v.max(axis=-1)
    return {"min": low, "mean": mean, "spread": high - low, "cv": cv[()]}


def equilibrium_residual(history: pd.DataFrame) -> pd.Series:
    """<w, S> - min_k S_k per step: how far weights still sit on generators that are not the worst.

    Zero at an exact max-min equilibrium. Units of S. `history` as in `Run.history`.
    """
    weighted = (history["weight"] * history["strength"]).groupby(history["step"]).sum()
    return weighted - history.groupby("step")["strength"].min()
