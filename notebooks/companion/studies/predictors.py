"""A detector's lens on interruption: GSNR of the pixel gradient beside what is interrupted."""

from typing import Protocol

import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from aef_core.metrics import nonempty_mean, protect
from companion.studies.references import evaluate_each, single_model
from companion.studies.resistance import gradient_table, pair_orders, pixel_gradients
from companion.studies.study import Lab

SHARE = "interrupted share"


class Scores(Protocol):
    """A detector: probability of fake, shape [B], of images in [-1, 1]."""

    encoder: torch.nn.Module

    def score(self, images: Tensor) -> Tensor: ...


def interrupted_share(lab: Lab) -> pd.DataFrame:
    """A row per generator: gradient lenses at the start, and what its own perturbation interrupts.

    Columns of `gradient_table`, `l2_mask` (mean on unseen faces, empty masks left out) and
    `interrupted share` (of forgeries with an L2_mask above the threshold).
    """
    lens = gradient_table(pixel_gradients(lab.zoo, lab.train, lab.config), lab.config.batch)
    alone = single_model(lab.zoo, lab.train, lab.config)
    table = evaluate_each(alone, lab.evaluator)
    reach = nonempty_mean(table, "model", ["l2_mask", "interrupted"])
    return lens.join(reach.rename(columns={"interrupted": SHARE}))


def orders_with_share(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs of generators that GSNR and the gradient's size order as the interrupted share does.

    Shares that are equal (say, 0) are told apart by the mean L2_mask, which they are counted from.
    """
    goal = pd.Series(rankdata(table[SHARE]) + rankdata(table["l2_mask"]) / 1e3, index=table.index)
    return pair_orders(table[["gsnr", "gradient of a face", "share left"]], goal)


@torch.no_grad()
def detector_on_protected(detector: Scores, lab: Lab, delta: Tensor) -> pd.DataFrame:
    """Whether a detector of forgeries notices the other defence: AUC per generator, 0.5 is chance.

    Columns: `protected photo` (against plain photos, the same in every row), `forgery`
    and `forgery of protected` (against plain photos), `protection` (forgeries of protected photos
    against forgeries).

    Parameters
    ----------
    delta : Tensor, shape [1, 3, H, W]
        A universal perturbation, for example `Run.delta`.
    """
    photos = lab.test.images
    device = next(detector.encoder.parameters()).device
    size = detector.encoder.image_size
    marked = protect(photos, delta.cpu())

    def scores(images: Tensor) -> Tensor:
        if images.shape[-1] != size:
            images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
        return detector.score(images.clamp(-1, 1).to(device)).cpu()

    plain, rows = scores(photos), {}
    for name, model in lab.zoo.items():
        c = model.conditions(lab.test.attributes, model.edits[0])
        where = next(model.parameters()).device
        forged, after = (scores(model(x.to(where), c.to(where)).cpu()) for x in (photos, marked))
        rows[name] = {
            "protected photo": auc_of(plain, scores(marked)),
            "forgery": auc_of(plain, forged),
            "forgery of protected": auc_of(plain, after),
            "protection": auc_of(forged, after),
        }
    return pd.DataFrame(rows).T


def auc_of(negatives: Tensor, positives: Tensor) -> float:
    """Chance that a positive scores higher than a negative, ties counted half."""
    difference = positives[:, None] - negatives[None]
    return ((difference > 0).double() + (difference == 0).double() / 2).mean().item()
