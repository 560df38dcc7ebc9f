"""Why a generator resists: properties of its pixel gradient, and which predict AEF's weights.

A universal perturbation follows the gradient averaged over faces and edits. If the gradients of
single faces disagree, little of them is left in the average, however large each of them is.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, initial_state
from aef_core.perturbation.objective import Zoo, clean_references, interruption


def pixel_gradients(
    zoo: Zoo, faces: FaceBatch, config: PerturbationConfig, delta: Tensor | None = None
) -> dict[str, Tensor]:
    """The gradient of every face's own interruption strength, with respect to the perturbation.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
    config : PerturbationConfig
        Its seed draws one edit per face, as the loop does.
    delta : Tensor, shape [1, 3, H, W], optional
        Where the gradient is taken; the loop's random start by default.

    Returns
    -------
    dict of name to Tensor, shape [N, 3 H W], on the CPU
    """
    device = next(next(iter(zoo.values())).parameters()).device
    images = faces.images.to(device)
    delta = initial_state(images, config).delta if delta is None else delta.to(device)
    references = clean_references(zoo, faces, config.seed, config.batch)
    gradients = {}
    for name, model in zoo.items():
        parts = []
        for rows in torch.arange(len(faces)).split(config.batch):
            own = delta.expand(len(rows), -1, -1, -1).detach().clone().requires_grad_()
            x = (images[rows] + own).clamp(-1, 1)
            mean = interruption(model, x, references[name], rows, config.feature_weight)[0]
            # the generators treat images one by one, so the gradient of the sum holds each face's
            (gradient,) = torch.autograd.grad(mean * len(rows), own)
            parts.append(gradient.flatten(1).cpu())
        gradients[name] = torch.cat(parts)
    return gradients


def gsnr(gradients: Tensor) -> Tensor:
    """Gradient signal-to-noise ratio of every pixel over faces.

    Formula: r_j = E[g_j]^2 / Var[g_j] (population variance). Source: Liu et al. (ICLR 2020, arXiv
    2001.07384), there per parameter over training data; CoRIT (arXiv 2603.24057) ties it to how far
    an optimisation can go before it collapses. Here per pixel of the perturbation.

    With N faces pure noise gives about 1 / N, not 0.

    Parameters
    ----------
    gradients : Tensor, shape [N, P], N >= 2

    Returns
    -------
    Tensor, shape [P], >= 0; infinite where all faces agree exactly, 0 where none has a gradient
    """
    if len(gradients) < 2:
        raise BadInput(f"a variance needs at least 2 gradients, got {len(gradients)}")
    g = gradients.double()
    signal, spread = g.mean(dim=0).square(), g.var(dim=0, unbiased=False)
    return torch.where(signal > 0, signal / spread, torch.zeros_like(signal))


def sign_agreement(gradients: Tensor, batch: int = 8) -> float:
    """Share of pixels where a batch's gradient has the sign of the gradient over all faces.

    The sign-step version of GSNR: 0.5 is chance (a little more, since each batch is part of the
    whole), 1 means that any batch shows where to go. Pixels without a gradient are left out.

    Parameters
    ----------
    gradients : Tensor, shape [N, P]
    batch : int
        Faces per step of the loop.
    """
    whole = gradients.mean(dim=0).sign()
    counted = whole != 0
    if not counted.any():
        return float("nan")
    shares = [
        (part.mean(dim=0).sign() == whole)[counted].double().mean().item()
        for part in gradients.split(batch)
    ]
    return float(np.mean(shares))


def saturation(delta: Tensor, eps: float, tolerance: float = 1e-3) -> float:
    """Share of values of a perturbation at the bound, |d| >= (1 - tolerance) eps."""
    return (delta.abs() >= (1 - tolerance) * eps).double().mean().item()


def gradient_table(gradients: Mapping[str, Tensor], batch: int = 8) -> pd.DataFrame:
    """Size, agreement and signal-to-noise ratio of the gradients: one row per generator.

    Columns: `gradient of a face` (mean |g|), `gradient left in the mean` (mean |E g|), `share left`
    (their ratio: what agreement leaves), `gsnr` (median over pixels), `sign agreement`.
    """
    rows = {}
    for name, g in gradients.items():
        single, mean = g.abs().mean().item(), g.mean(dim=0).abs().mean().item()
        rows[name] = {
            "gradient of a face": single,
            "gradient left in the mean": mean,
            "share left": mean / single if single > 0 else float("nan"),
            "gsnr": gsnr(g).median().item(),
            "sign agreement": sign_agreement(g, batch),
        }
    return pd.DataFrame(rows).T


def alignment(cosines: np.ndarray, models: list[str]) -> pd.Series:
    """Mean cosine of each generator's gradient with the others', over all steps of a run.

    Parameters
    ----------
    cosines : ndarray, shape [steps, K, K]
        `Run.cosines`.
    """
    mean = cosines.mean(axis=0)
    k = len(mean)
    return pd.Series((mean.sum(axis=1) - mean.diagonal()) / max(1, k - 1), index=models)


def pair_orders(predictors: pd.DataFrame, target: pd.Series) -> pd.DataFrame:
    """How many pairs of generators each column puts in the target's order, and in the opposite one.

    A count, no correlation: four generators are six pairs. Chance gets all six right in one of 24
    orders, so they can refute a predictor but never establish one.

    Returns
    -------
    DataFrame indexed by predictor, the most decided first: `same`, `opposite`, `pairs`. A tie is
    in neither.
    """

    def rises(values: pd.Series) -> np.ndarray:  # of each pair: 1 up, -1 down, 0 a tie
        x = values.to_numpy(float)
        return (x[later] > x[earlier]).astype(int) - (x[later] < x[earlier]).astype(int)

    earlier, later = np.triu_indices(len(target), 1)
    goal = rises(target.loc[predictors.index])
    agreed = {name: rises(column) * goal for name, column in predictors.items()}
    table = pd.DataFrame(
        {name: {"same": sum(a > 0), "opposite": sum(a < 0), "pairs": len(a)}
         for name, a in agreed.items()}
    ).T  # fmt: skip
    decided = table[["same", "opposite"]].max(axis=1).sort_values(ascending=False, kind="stable")
    return table.loc[decided.index]
