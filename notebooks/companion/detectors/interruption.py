"""Back to the main story: generators' pixel gradients through CS-DFD's lens, and both defences.

A perturbation that is to disturb several generators has as many gradients as CS-DFD has losses; and
who detects forgeries may meet photos that somebody protected.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aef_core.faces import FaceBatch, from_uint8, to_uint8
from aef_core.metrics import protect
from aef_core.models import DeepfakeModel
from companion.detectors.backbone import Detector
from companion.detectors.data import SIZE, forge


def pixel_gradient(model: DeepfakeModel, faces: FaceBatch, delta: Tensor, edit: str) -> Tensor:
    """Gradient of MSE(G(x + d), G(x)) by d, flat, shape [3 S S]."""
    c = model.conditions(faces.attributes, edit)
    with torch.no_grad():
        clean = model(faces.images, c)
    delta = delta.clone().requires_grad_(True)
    return torch.autograd.grad(F.mse_loss(model(faces.images + delta, c), clean), delta)[
        0
    ].flatten()


def pixel_conflicts(
    zoo: Mapping[str, DeepfakeModel],
    faces: FaceBatch,
    delta: Tensor,
    draws: int = 4,
    batch: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Cosines of generators' gradients at a perturbation, and of each one's on other faces.

    Returns
    -------
    DataFrame with a row per draw and pair: draw, first, second, cosine. Where first is second, the
    two gradients are of one generator on two batches: the null.
    """
    rng, rows = np.random.default_rng(seed), []
    for draw in range(draws):
        order = rng.permutation(len(faces))[: 2 * batch].tolist()
        halves = [faces[order[:batch]], faces[order[batch:]]]
        edits = {name: rng.choice(model.edits) for name, model in zoo.items()}
        found = {
            name: [pixel_gradient(model, half, delta, edits[name]) for half in halves]
            for name, model in zoo.items()
        }
        names = list(zoo)
        for i, first in enumerate(names):
            for second in names[i:]:
                cosine = F.cosine_similarity(found[first][0], found[second][1], dim=0).item()
                rows.append({"draw": draw, "first": first, "second": second, "cosine": cosine})
    return pd.DataFrame(rows)


def conflict_shares(cosines: pd.DataFrame) -> pd.DataFrame:
    """Mean cosine and share of conflicts, between generators and within one (the null)."""
    same = cosines["first"] == cosines["second"]
    pair = same.map({True: "within one generator (null)", False: "between generators"})
    found = cosines.assign(conflict=cosines["cosine"] < 0).groupby(pair.rename("pair"))
    return found.agg(cosine=("cosine", "mean"), conflict=("conflict", "mean"), n=("cosine", "size"))


def both_defences(
    detector: Detector,
    zoo: Mapping[str, DeepfakeModel],
    faces: FaceBatch,
    delta: Tensor,
    seed: int = 0,
) -> pd.DataFrame:
    """What a detector says of plain and protected photos, and of forgeries of both.

    Every generator forges both versions of a photo by the same edits.

    Returns
    -------
    DataFrame with a row per photo and picture: photo, of, protected, score (probability of fake).
    """
    versions = {False: faces.images, True: protect(faces.images, delta)}
    rows = []
    for protected, images in versions.items():
        own = FaceBatch(images, faces.attributes, faces.names, faces.source)
        made = {"photo": images}
        for name, model in zoo.items():
            made[name] = from_uint8(forge(model, own, np.random.default_rng(seed)))
        for of, pictures in made.items():
            scores = detector.score(reduce(pictures)).tolist()
            rows += [
                {"photo": i, "of": of, "protected": protected, "score": s}
                for i, s in enumerate(scores)
            ]
    return pd.DataFrame(rows)


def reduce(images: Tensor, size: int = SIZE) -> Tensor:
    """Images as detectors are shown them: resized with antialiasing and rounded to 8 bits."""
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    return from_uint8(to_uint8(images.clamp(-1, 1)))
