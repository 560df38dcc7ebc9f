"""How much each flaw in published evaluation code changes the numbers of one perturbation."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.metrics import (
    MASK_THRESHOLD,
    SUCCESS_THRESHOLD,
    Evaluator,
    l2_mask,
    nonempty_mean,
    protect,
    ssim,
)
from aef_core.perturbation.objective import Zoo

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]

CHOICES = {
    "honest": "unseen faces, own mask, own labels, clamped and rounded to 8 bits",
    "judged on the optimising faces": "CMUA and TSDF as shipped: the sets overlap",
    "no 8-bit rounding": "all peers: the perturbation is never saved as an image",
    "no clamp": "TSDF: x + d may leave [-1, 1]",
    "first image's mask for the batch": "CMUA and TSDF with batches above 1",
    "labels of the face two rows on": "CMUA and TSDF: header lines counted as faces",
    "empty masks as failures": "CMUA and TSDF: NaN > 0.05 is false",
}


def contrast(zoo: Zoo, train: FaceBatch, test: FaceBatch, delta: Tensor) -> pd.DataFrame:
    """The honest protocol against one sloppy choice at a time.

    Sources: evaluate.py of github.com/VDIGPKU/CMUA-Watermark and evaluate_fid.py of
    github.com/vpsg-research/TSDF, as shipped; see `CHOICES`.

    Parameters
    ----------
    train, test : FaceBatch
        Faces the perturbation was optimised on, and others.
    delta : Tensor, shape [1, 3, H, W]

    Returns
    -------
    DataFrame, a row per choice: L2_mask (mean over generators of their means), its change in
    percent, the worst generator's, SR_mask, and who does it.
    """
    judge = Evaluator(zoo, test)
    x = test.images
    published = protect(x, delta)
    turned = FaceBatch(x, test.attributes.roll(2, dims=0), test.names, test.source)
    optimised_on = train[: len(test)]
    honest = _judged(judge, published)
    tables = {
        "honest": honest,
        "judged on the optimising faces": _judged(
            Evaluator(zoo, optimised_on), protect(optimised_on.images, delta)
        ),
        "no 8-bit rounding": _judged(judge, (x + delta).clamp(-1, 1)),
        "no clamp": _judged(judge, x + delta),
        "first image's mask for the batch": _judged(judge, published, _first_mask),
        "labels of the face two rows on": _judged(Evaluator(zoo, turned), published),
        "empty masks as failures": honest.assign(excluded=False),
    }
    rows = pd.DataFrame({name: _summary(table) for name, table in tables.items()}).T
    change = 100 * (rows["L2_mask"] / rows.loc["honest", "L2_mask"] - 1)
    rows.insert(1, "change in %", change)
    return rows.assign(who=pd.Series(CHOICES))


def ssim_contrast(images: Tensor, protected: Tensor) -> pd.Series:
    """Mean SSIM of protected images, standard and as the peers compute it.

    Theirs: a window of 3 instead of 11 Gaussian pixels, over the colour channels as a third
    dimension, with the range of the first image's pixels as data range.
    """
    a, b = (((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).double().numpy() for x in
            (images, protected))  # fmt: skip
    span = a[0].max() - a[0].min()
    theirs = [
        structural_similarity(p, q, win_size=3, data_range=span) for p, q in zip(a, b, strict=True)
    ]
    return pd.Series({"standard": ssim(images, protected).mean(), "peers'": np.mean(theirs)})


def _first_mask(forged: Tensor, disturbed: Tensor, original: Tensor) -> Tensor:
    """L2_mask with the first image's mask for all, shape [B]."""
    mask = ((forged[:1] - original[:1]).abs().sum(dim=1) > MASK_THRESHOLD).to(forged)[:, None]
    squared = ((disturbed - forged).square() * mask).sum(dim=(1, 2, 3))
    return squared / (3 * mask.sum())


@torch.no_grad()
def _judged(judge: Evaluator, protected: Tensor, measure: Judge = l2_mask) -> pd.DataFrame:
    """model, l2_mask and excluded of every image, generator and edit."""
    parts = []
    for name, edit in ((n, e) for n, model in judge.zoo.items() for e in model.edits):
        forged, disturbed = judge.forged(name, edit), judge.forge(protected, name, edit)
        values = measure(forged, disturbed, judge.faces.images).numpy()
        parts.append(pd.DataFrame({"model": name, "l2_mask": values, "excluded": np.isnan(values)}))
    return pd.concat(parts, ignore_index=True)


def _summary(table: pd.DataFrame) -> dict[str, float]:
    levels = nonempty_mean(table, "model")
    above = table.assign(interrupted=table["l2_mask"] > SUCCESS_THRESHOLD)
    success = nonempty_mean(above, "model", "interrupted")
    return {"L2_mask": levels.mean(), "worst": levels.min(), "SR_mask": success.mean()}
