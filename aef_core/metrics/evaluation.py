"""How well a perturbation interrupts, how evenly, and how visible it is: one block for all."""

import hashlib
import io
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aef_core.atomic import check_writable
from aef_core.faces import FaceBatch
from aef_core.faces.pixels import protect, psnr, ssim
from aef_core.models.base import attribute_index, check_size, fingerprint
from aef_core.models.judge import predict_attributes
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run, damage_at, read_sealed, run_hash, write_sealed
from aef_core.registry import check_count

MASK_THRESHOLD = 0.5  # sum over RGB of |G(x) - x|, in [-1, 1] units
SUCCESS_THRESHOLD = 0.05  # L2_mask above it counts as interrupted
TABLE_FORMAT = 2  # raise it when the evaluation table's columns or the judge of edits change
WORDS = ("image", "model", "edit", "outcome")
NUMBERS = ("l2_mask", "interrupted", "excluded", "survives", "psnr", "ssim")


def l2_mask(forged: Tensor, disturbed: Tensor, original: Tensor) -> Tensor:
    """Mean squared change of a forgery inside the region it edits, shape [B], >= 0.

    Formula: m = 1[sum_RGB |G(x) - x| > 0.5], L2_mask = sum(((G(x + d) - G(x)) m)^2) / (3 sum m);
    NaN where the generator edits nothing, so that there is nothing to interrupt.
    Source: CMUA (arXiv 2105.10872); there, as shipped, a batch shares the first image's mask.

    Parameters
    ----------
    forged, disturbed, original : Tensor, shape [B, 3, H, W]
        G(x), G(x + d) and x, in [-1, 1].
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
    BadInput
        Faces, or later a perturbation, of another size than the generators'.
    """

    def __init__(self, zoo: Zoo, faces: FaceBatch, batch: int = 32) -> None:
        check_count("batch", batch)
        check_size(zoo, faces.images)
        self.zoo, self.faces, self.batch = zoo, faces, batch
        self._forged: dict[tuple[str, str], Tensor] = {}
        self._status: dict[tuple[str, str], np.ndarray] = {}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every generator and edit, in the order of the table."""
        return [(name, edit) for name, model in self.zoo.items() for edit in model.edits]

    def forged(self, name: str, edit: str) -> Tensor:
        """`forge` of the clean faces, kept for later calls."""
        if (name, edit) not in self._forged:
            self._forged[name, edit] = self.forge(self.faces.images, name, edit)
        return self._forged[name, edit]

    @torch.no_grad()
    def forge(self, images: Tensor, name: str, edit: str) -> Tensor:
        """What generator `name` makes of N images of the faces, [N, 3, H, W], on the CPU."""
        model = self.zoo[name]
        device = next(model.parameters()).device
        parts = zip(images.split(self.batch), self.faces.attributes.split(self.batch), strict=True)
        made = (model(x.to(device), model.conditions(a.to(device), edit)) for x, a in parts)
        return torch.cat([forged.cpu() for forged in made])

    def __call__(self, delta: Tensor) -> pd.DataFrame:
        """One row per image, generator and edit, for a delta of shape [1 or N, 3, H, W].

        Columns: image, model, edit, l2_mask (NaN where `excluded`), interrupted, excluded (empty
        mask), outcome and survives (see `survival`), psnr (dB) and ssim of the protected image
        against the original.
        """
        check_size(self.zoo, delta)
        protected = protect(self.faces.images, delta.detach().cpu())
        originals = self.faces.images
        visible = {"psnr": psnr(originals, protected), "ssim": ssim(originals, protected)}
        blocks = []
        for name, edit in self.pairs:
            forged, disturbed = self.forged(name, edit), self.forge(protected, name, edit)
            values = l2_mask(forged, disturbed, originals).double().numpy()
            judged = {
                "l2_mask": values,
                "interrupted": values > SUCCESS_THRESHOLD,
                "excluded": np.isnan(values),
                **self.survival(name, edit, disturbed, values),
            }
            about = {"image": list(self.faces.names), "model": name, "edit": edit}
            blocks.append(pd.DataFrame(about | judged | visible))
        return pd.concat(blocks, ignore_index=True)

    def survival(
        self, name: str, edit: str, disturbed: Tensor, values: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Whether each edit still works on the protected photos, `disturbed` [N, 3, H, W].

        An edit counts if it works on the unprotected photo: the judge sees it in the forgery, and
        neither judge nor label sees it in the photo. `values` are the L2_mask, shape [N].

        Returns
        -------
        outcome : ndarray of str, shape [N]
            "unaffected", "changed" (L2_mask reaches the threshold, the judge sees the edit all the
            same), "undone" (it sees none); or why the edit does not count: "never seen" in the
            forgery, "already there" in the photo, "empty mask".
        survives : ndarray of float, shape [N]
            1, 1, 0, or NaN where the edit does not count.
        """
        column, labels = attribute_index(edit), self.faces.attributes
        wanted = self.zoo[name].target_attributes(labels, edit)[:, column]
        if (name, edit) not in self._status:
            asked = (labels[:, column] != wanted) & (self._photos[:, column] != wanted)
            seen = predict_attributes(self.forged(name, edit)[asked])[:, column] == wanted[asked]
            status = np.full(len(labels), "already there", dtype=object)
            status[asked.numpy()] = np.where(seen.numpy(), "works", "never seen")
            self._status[name, edit] = status
        outcome = np.where(np.isnan(values), "empty mask", self._status[name, edit])
        works, survives = outcome == "works", np.full(len(outcome), np.nan)
        shown = (predict_attributes(disturbed[works])[:, column] == wanted[works]).numpy()
        moved = np.where(values[works] >= SUCCESS_THRESHOLD, "changed", "unaffected")
        survives[works], outcome[works] = shown, np.where(shown, moved, "undone")
        return {"outcome": outcome, "survives": survives}

    @cached_property
    def _photos(self) -> Tensor:  # what the judge sees in them
        return predict_attributes(self.faces.images)


def evaluate(zoo: Zoo, faces: FaceBatch, delta: Tensor, batch: int = 32) -> pd.DataFrame:
    """Judge one perturbation; see `Evaluator`, which is cheaper for several."""
    return Evaluator(zoo, faces, batch)(delta)


def evaluate_run(run: Run, evaluator: Evaluator, budget: Budget = BOX) -> pd.DataFrame:
    """What `Evaluator` says of a run; kept in the run's folder, and found again the next time.

    `budget` is the one the run was made with: it decides what of delta a photo receives. The kept
    table is of one delta, zoo and set of faces.

    Raises
    ------
    DamagedRun
        The kept table was changed, cut or renamed.
    NotWritable
        The run's folder takes no files; found before the work.
    """
    added = budget.added(evaluator.faces.images, run.delta)
    if run.path is None:
        return evaluator(added)
    key = {
        "run": run.path.name,
        "added": hashlib.sha256(added.detach().cpu().contiguous().numpy()).hexdigest(),
        "zoo": {name: fingerprint(model) for name, model in evaluator.zoo.items()},
        "faces": evaluator.faces.fingerprint(),
        "format": TABLE_FORMAT,
    }
    path = run.path / f"evaluation-{run_hash(key)}.csv"
    if not (path.exists() or path.is_symlink()):
        check_writable(run.path)
        table = evaluator(added).to_csv(index=False)
        write_sealed(path, table.encode(errors="surrogateescape"))
    content = io.BytesIO(read_sealed(path))
    with damage_at(path):
        return pd.read_csv(
            content, encoding_errors="surrogateescape", keep_default_na=False,
            dtype=dict.fromkeys(WORDS, str), na_values={key: [""] for key in NUMBERS},
        )  # fmt: skip


def nonempty_mean(
    table: pd.DataFrame, by: str | list[str], column: str | list[str] = "l2_mask"
) -> Any:
    """Mean of a column (or several) per group of `evaluate`'s table, empty masks left out."""
    return table[~table["excluded"]].groupby(by, sort=False)[column].mean()


def per_model(table: pd.DataFrame) -> pd.DataFrame:
    """Mean L2_mask, SR_mask, edit survival, count of pairs per generator; no empty masks."""
    names = {"l2_mask": "l2_mask", "interrupted": "sr_mask", "survives": "edit survival"}
    counts = table.groupby("model", sort=False)["excluded"].agg(["size", "sum"])
    means = nonempty_mean(table, "model", list(names)).rename(columns=names).reindex(counts.index)
    return means.assign(pairs=counts["size"] - counts["sum"], excluded=counts["sum"])


def balance(values: ArrayLike) -> dict[str, Any]:
    """How evenly K generators are interrupted, from one value (mean L2_mask or SR_mask) each.

    Of values of shape [..., K], `min` (the worst protected generator), `mean`, `spread` (max - min)
    and `cv` (population standard deviation over mean), each of shape [...].
    """
    v = np.asarray(values, dtype=float)
    mean = v.mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cv = np.where(mean > 0, v.std(axis=-1) / mean, np.nan)
    low, high = v.min(axis=-1), v.max(axis=-1)
    return {"min": low, "mean": mean, "spread": high - low, "cv": cv[()]}
