"""Gradient signal-to-noise ratio of a detector's parameters, block by block.

GSNR (Liu et al., ICLR 2020, arXiv 2001.07384): squared mean over variance of a parameter's
per-sample gradient. From B samples pure noise gives 1/B, so the mean's own noise is taken off.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from aef_core.errors import BadInput
from companion.detectors.corit.sam import SAM, shift, weight_norm
from companion.detectors.corit.training import Task, bce
from companion.detectors.corit.vit import block_of

MEMORY = 4e9  # bytes that one chunk of per-sample gradients may take, activations included
COPIES = 4  # of the gradients at once: vmap's own, their squares in double


@dataclass(frozen=True)
class Moments:
    """Mean and unbiased variance of the per-sample gradient, by parameter name; `samples` of it."""

    mean: dict[str, Tensor]
    variance: dict[str, Tensor]
    samples: int

    def signal(self, names: list[str]) -> float:
        """Unbiased sum of squared means, `sum(gbar^2 - s^2 / B)`, at least 0."""
        noise = sum(self.variance[n].sum().item() for n in names) / self.samples
        return max(0.0, sum(self.mean[n].square().sum().item() for n in names) - noise)

    def noise(self, names: list[str]) -> float:
        """Trace of the gradient's covariance over these parameters."""
        return sum(self.variance[n].sum().item() for n in names)


def chunk_size(model: nn.Module, memory: float = MEMORY) -> int:
    """Samples whose gradients fit the memory at once, at least 1 and at most 64."""
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    return int(max(1, min(64, memory // (COPIES * size))))


def per_sample_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, chunk: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """Gradients of every sample's own cross-entropy, chunk by chunk.

    Parameters
    ----------
    model : Module
        Images [B, 3, S, S] to logits [B]; without BatchNorm, which ties samples together.
    images, labels : Tensor, shape [N, ...], [N]
    chunk : int, optional
        Samples at once; what fits 4 GB by default.

    Yields
    ------
    dict of parameter name to Tensor, shape [chunk, *parameter]
    """
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules()):
        raise BadInput("BatchNorm in training mode has no per-sample gradient: call model.eval()")
    params = {n: p.detach() for n, p in model.named_parameters()}
    buffers = {n: b.detach() for n, b in model.named_buffers()}

    def loss(weights: Mapping[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logit = functional_call(model, (dict(weights), buffers), (image[None],))
        return F.binary_cross_entropy_with_logits(logit, label[None].float())

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    size = chunk or chunk_size(model)
    for rows in torch.arange(len(images)).split(size):
        yield each(params, images[rows], labels[rows])


def gradient_moments(
    model: nn.Module, images: Tensor, labels: Tensor, chunk: int | None = None
) -> Moments:
    """Mean and variance of the per-sample gradient over these samples, in double precision."""
    if len(images) < 2:
        raise BadInput(f"a variance needs at least 2 samples, got {len(images)}")
    total: dict[str, Tensor] = {}
    square: dict[str, Tensor] = {}
    for part in per_sample_gradients(model, images, labels, chunk):
        for name, g in part.items():
            g = g.double()
            total[name] = total.get(name, 0) + g.sum(dim=0)
            square[name] = square.get(name, 0) + g.square().sum(dim=0)
    n = len(images)
    mean = {name: t / n for name, t in total.items()}
    variance = {
        name: ((s - n * mean[name].square()) / (n - 1)).clamp_min(0) for name, s in square.items()
    }
    return Moments(mean, variance, n)


def corrected(mean: Tensor, variance: Tensor, samples: int) -> Tensor:
    """GSNR of every parameter without its floor: `(gbar^2 - s^2 / B)+ / s^2`, 0 where s is 0."""
    signal = (mean.square() - variance / samples).clamp_min(0)
    return torch.where(variance > 0, signal / variance.clamp_min(1e-300), 0.0)


def gsnr_table(moments: Moments) -> pd.DataFrame:
    """One row a block, in order: the ratio of sums, the median over parameters, signal and noise.

    Columns: `gsnr` = sum of signals / sum of variances, `median`, `signal`, `noise`, `parameters`.
    The last row, "all", is the whole network.
    """
    groups: dict[str, list[str]] = {}
    for name in moments.mean:
        groups.setdefault(block_of(name), []).append(name)
    depth = {"embed": 0, "head": len(groups)}
    order = sorted(groups, key=lambda b: depth[b] if b in depth else int(b.split()[-1]))
    rows = {}
    for block, names in (*((b, groups[b]) for b in order), ("all", list(moments.mean))):
        both = (moments.mean, moments.variance)
        m, v = (torch.cat([d[n].flatten() for n in names]) for d in both)
        signal, noise = moments.signal(names), moments.noise(names)
        rows[block] = {
            "gsnr": signal / noise if noise > 0 else float("nan"),
            "median": corrected(m, v, moments.samples).median().item(),
            "signal": signal,
            "noise": noise,
            "parameters": len(m),
        }
    return pd.DataFrame(rows).T.rename_axis("block")


def curvature(model: nn.Module, task: Task, rho: float, rows: Tensor) -> float:
    """L = |grad(w + e) - grad(w)| / rho along SAM's own move, on these rows of the task.

    The weights are restored. rho > 0, in units of the weights' norm.
    """
    if not rho > 0:
        raise BadInput(f"the curvature is measured at a radius > 0, got {rho}")
    params = list(model.parameters())
    sam = SAM(model, torch.optim.SGD(params, lr=0.0), rho)

    def gradient() -> list[Tensor]:
        loss = bce(model, task.images[rows], task.labels[rows].float())
        return list(torch.autograd.grad(loss, params))

    before = gradient()
    for p, g in zip(params, before, strict=True):
        p.grad = g
    moves = sam.ascent()
    shift(params, moves, +1)
    after = gradient()
    shift(params, moves, -1)
    model.zero_grad()
    return weight_norm([a - b for a, b in zip(after, before, strict=True)]) / rho


def predicted_radius(gsnr: float, noise: float, curvature: float) -> float:
    """Our stand-in for the theorem: `sqrt(GSNR tr Sigma) / L`, in units of the weights' norm.

    SAM's gradient stays a descent direction while rho L < |mu|, and |mu|^2 = GSNR tr Sigma. So the
    critical radius rises with GSNR at a fixed trace and curvature only.
    """
    return float(np.sqrt(gsnr * noise) / curvature) if curvature > 0 else float("inf")
