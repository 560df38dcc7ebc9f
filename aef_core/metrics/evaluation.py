"""How well a perturbation interrupts, how evenly, and how visible it is: one block for all."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.faces.pixels import protect, psnr, ssim
from aef_core.models import DeepfakeModel
from aef_core.models.base import check_size
from aef_core.models.judge import edit_outcomes, edit_status, predict_attributes, shows_edit
from aef_core.registry import check_count

MASK_THRESHOLD = 0.5  # sum over RGB of |G(x) - x|, in [-1, 1] units
SUCCESS_THRESHOLD = 0.05  # L2_mask above it counts as interrupted
TABLE_FORMAT = 2  # raise it when the evaluation table's columns or the judge of edits change


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
        check_count("batch", batch)
        check_size(zoo, faces.images)
        self.zoo, self.faces, self.batch = zoo, faces, batch
        self._forged: dict[tuple[str, str], Tensor] = {}
        self._photos: Tensor | None = None  # what the judge sees in them
        self._status: dict[tuple[str, str], np.ndarray] = {}
        self._faces_found: dict[tuple[str, str], np.ndarray] = {}

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

    def __call__(self, delta: Tensor, detect: bool = False) -> pd.DataFrame:
        """One row per image, generator and edit.

        Parameters
        ----------
        delta : Tensor, shape [1 or N, 3, H, W]
        detect : bool
            Also let MTCNN look for a face in the forgeries, which takes minutes.

        Returns
        -------
        DataFrame with columns image, model, edit, l2_mask (NaN where `excluded`), interrupted,
        excluded (empty mask), outcome and survives (see `survival`), psnr (dB) and ssim of the
        protected image against the original; with `detect` also broken: 1 where MTCNN finds a face
        in the clean forgery and none after protection, 0 where it finds both, NaN elsewhere.
        """
        check_size(self.zoo, delta)
        protected = protect(self.faces.images, delta.detach().cpu())
        originals = self.faces.images
        visible = {"psnr": psnr(originals, protected), "ssim": ssim(originals, protected)}
        blocks = []
        for name, edit in ((n, e) for n, model in self.zoo.items() for e in model.edits):
            forged, disturbed = self.forged(name, edit), self.forge(protected, name, edit)
            values = l2_mask(forged, disturbed, originals).double().numpy()
            judged = {
                "l2_mask": values,
                "interrupted": values > SUCCESS_THRESHOLD,
                "excluded": np.isnan(values),
                **self.survival(name, edit, disturbed, values),
            }
            if detect:
                judged["broken"] = self._broken(name, edit, disturbed, values)
            about = {"image": list(self.faces.names), "model": name, "edit": edit}
            blocks.append(pd.DataFrame(about | judged | visible))
        return pd.concat(blocks, ignore_index=True)

    def survival(
        self, name: str, edit: str, disturbed: Tensor, values: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Does the edit still work in these forgeries with this L2_mask? See `edit_outcomes`."""
        model, faces = self.zoo[name], self.faces
        if self._photos is None:
            self._photos = predict_attributes(faces.images)
        if (name, edit) not in self._status:
            before = (faces.attributes, self._photos)
            self._status[name, edit] = edit_status(model, edit, *before, self.forged(name, edit))
        status = np.where(np.isnan(values), "empty mask", self._status[name, edit])
        works = torch.from_numpy(status == "works")
        shown = shows_edit(model, edit, faces.attributes[works], disturbed[works])
        return edit_outcomes(status, shown, values >= SUCCESS_THRESHOLD)

    def _broken(self, name: str, edit: str, disturbed: Tensor, values: np.ndarray) -> np.ndarray:
        """The column `broken` of `__call__`; NaN also where the mask is empty."""
        from aef_core.faces.detection import detected  # heavy to import, and only needed here

        if (name, edit) not in self._faces_found:
            self._faces_found[name, edit] = detected(self.forged(name, edit)).numpy()
        counted = np.flatnonzero(self._faces_found[name, edit] & ~np.isnan(values))
        broken = np.full(len(values), np.nan)
        broken[counted] = ~detected(disturbed[counted]).numpy()
        return broken


def evaluate(
    zoo: Mapping[str, DeepfakeModel],
    faces: FaceBatch,
    delta: Tensor,
    batch: int = 32,
    detect: bool = False,
) -> pd.DataFrame:
    """Judge one perturbation; see `Evaluator`, which is cheaper for several."""
    return Evaluator(zoo, faces, batch)(delta, detect)


def nonempty_mean(
    table: pd.DataFrame, by: str | list[str], column: str | list[str] = "l2_mask"
) -> Any:
    """Mean of a column (or several) per group, over the pairs whose mask is not empty.

    Of a table from `evaluate`, in its order; groups with empty masks alone are left out.
    """
    return table[~table["excluded"]].groupby(by, sort=False)[column].mean()


def per_model(table: pd.DataFrame) -> pd.DataFrame:
    """Mean L2_mask, SR_mask, edit survival, count of pairs per generator; no empty masks."""
    names = {"l2_mask": "l2_mask", "interrupted": "sr_mask", "survives": "edit survival"}
    counts = table.groupby("model", sort=False)["excluded"].agg(["size", "sum"])
    means = nonempty_mean(table, "model", list(names)).rename(columns=names).reindex(counts.index)
    return means.assign(pairs=counts["size"] - counts["sum"], excluded=counts["sum"])


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
