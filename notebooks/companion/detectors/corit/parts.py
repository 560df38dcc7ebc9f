"""The four training-free parts judged by a linear probe, with random controls."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.detectors.corit.pieces import (
    SOURCE,
    TARGETS,
    Injection,
    class_direction,
    contrastive_proxy,
    hierarchy,
    region_mask,
    relevance_of,
    taps_with,
)
from companion.detectors.corit.training import Task, auc
from companion.detectors.corit.vit import Detector

RIDGE = 1.0  # of the probe, in units of the standardised features' variance
ARMS: dict[str, tuple[Injection | None, bool]] = {
    # what is injected, and whether the class tokens of several blocks are read
    "none": (None, False),
    "injection": (Injection(keep=1.0), False),
    "mask + injection": (Injection(), False),
    "random mask": (Injection(mask="random"), False),
    "shuffled signal": (Injection(signal="shuffled"), False),
    "hierarchy": (None, True),
    "all": (Injection(), True),
    "all, random mask": (Injection(mask="random"), True),
}


@torch.no_grad()
def features(
    encoder: nn.Module, images: Tensor, direction: Tensor, arm: str, batch: int = 64
) -> Tensor:
    """What the probe sees under one of `ARMS`, shape [N, D] or, read from four blocks, [N, 4 D]."""
    injection, several = ARMS[arm]
    parts = []
    for part in images.split(batch):
        taps = taps_with(encoder, part, direction, injection)
        parts.append(hierarchy(taps) if several else encoder.read(taps))
    return torch.cat(parts)


def probe(train: Tensor, labels: Tensor, other: Tensor) -> Tensor:
    """Scores [M] of a ridge regression of +-1 on standardised features [N, D], [M, D]."""
    mean, scale = train.mean(dim=0), train.std(dim=0).clamp_min(1e-6)
    x, z = ((part - mean).double() / scale for part in (train, other))
    goal = 2.0 * labels.double() - 1
    gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return z @ torch.linalg.solve(gram, x.T @ goal)


def parts_table(
    encoder: nn.Module, tasks: dict[str, Task], arms: dict[str, object] = ARMS
) -> pd.DataFrame:
    """AUC of every arm, trained on one task and judged on all: arm, trained on, task, auc."""
    encoder = encoder.eval()
    rows = []
    for task in tasks.values():
        direction = class_direction(encoder, task.images, task.labels)
        for arm in arms:
            seen = features(encoder, task.images, direction, arm)
            for other in tasks.values():
                held = features(encoder, other.val_images, direction, arm)
                value = auc(probe(seen, task.labels, held), other.val_labels)
                rows.append({"arm": arm, "trained on": task.name, "task": other.name, "auc": value})
    return pd.DataFrame(rows)


def proxy_table(encoder: nn.Module, task: Task, batch: int = 64) -> pd.DataFrame:
    """Norm and spread of the proxy, bare, masked and with the injection, at the target blocks.

    Columns: `norm` (mean |G| of an image), `relative variance` (of the relevance over images,
    summed over patches, in shares of its mean square).
    """
    encoder = encoder.eval()
    images = task.val_images[:batch]
    direction = class_direction(encoder, task.images, task.labels)
    rows = []
    for block in TARGETS:
        bare, gradient = contrastive_proxy(encoder, images, direction, block)
        masked = region_mask(bare)
        with torch.enable_grad():
            taps = taps_with(encoder, images, direction, Injection())
            margin = F.normalize(encoder.read(taps), dim=-1) @ direction
            injected, moved = relevance_of(margin, taps[block - 1])
        for name, r, g in (
            ("bare", bare, gradient),
            ("mask", bare * masked, gradient * masked[..., None]),
            ("mask + injection", injected * region_mask(injected), moved),
        ):
            norm = g.flatten(1).norm(dim=1).mean().item()
            spread = (r.var(dim=0).sum() / r.square().mean(dim=0).sum()).item()
            rows.append({"block": block, "proxy": name, "norm": norm, "relative variance": spread})
    return pd.DataFrame(rows).set_index(["block", "proxy"])


def proxy_fidelity(detector: Detector, task: Task, batch: int = 64, seed: int = 0) -> pd.Series:
    """Cosine of the proxy's centred map with the true loss gradient's, and of a shuffled map.

    The detector is one that was trained on the task; both maps are LayerCAM at the source block, of
    the prototypes' margin and of the loss (its gradient's sign turned towards "fake").

    Returns
    -------
    Series: proxy, shuffled (means over images), share of images where the proxy is ahead
    """
    detector = detector.eval()
    encoder = detector.encoder
    images, labels = task.val_images[:batch], task.val_labels[:batch].float()
    direction = class_direction(encoder, task.images, task.labels)
    proxy, _ = contrastive_proxy(encoder, images, direction)
    taps = encoder.tokens(images)
    logits = detector.logits(encoder.read(taps))
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    truth, _ = relevance_of(losses * (1 - 2 * labels), taps[SOURCE - 1])
    order = torch.randperm(proxy.shape[1], generator=torch.Generator().manual_seed(seed))
    # centred: all maps share their mean, which would bring any cosine near 1
    proxy, truth = (m - m.mean(dim=1, keepdim=True) for m in (proxy, truth))
    own = F.cosine_similarity(proxy, truth).numpy()
    other = F.cosine_similarity(proxy[:, order], truth).numpy()
    return pd.Series({"proxy": own.mean(), "shuffled": other.mean(), "ahead": np.mean(own > other)})
