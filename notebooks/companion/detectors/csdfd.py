"""CS-DFD at small scale: one detector, two kinds of fakes, and what becomes of their gradients.

Suppressing Gradient Conflict for Generalizable Deepfake Detection (arXiv 2507.21530; IEEE TPAMI
2026). Which parts are our reading: see notebook 13 and `arms`.
"""

from dataclasses import dataclass, field
from time import process_time

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces.pictures import jpeg_copy
from companion.detectors.arms import ARMS, Arm, conflict_descent, head_gradients
from companion.detectors.backbone import Detector
from companion.detectors.faces import FaceSet

GROUP = 8  # of each of four: reals A, forgeries, reals B, self-blended
RATE, DECAY = 2e-4, 5e-4  # Adam, as ProDet (arXiv 2408.17052) trains on the same two kinds


@dataclass
class TrainingData:
    """Fixed features of every face in `views` variants, by the four groups of a batch."""

    groups: dict[str, Tensor]  # [views, n, C, h, w]

    def batch(self, kind: str, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """n reals and n fakes of "original" or "synthesised", with labels, drawn at random."""
        parts = [self.groups[kind, label] for label in (0, 1)]
        picks = [(rng.integers(0, len(p), n), rng.permutation(p.shape[1])[:n]) for p in parts]
        chosen = [p[i[: len(j)], j] for p, (i, j) in zip(parts, picks, strict=True)]
        return torch.cat(chosen), torch.repeat_interleave(
            torch.arange(2), torch.tensor([len(c) for c in chosen])
        )


def prepare(
    model: Detector, faces: FaceSet, views: int = 2, seed: int = 0, without: str | None = None
) -> TrainingData:
    """Augment, pass through the frozen front once, and sort into groups.

    Parameters
    ----------
    faces : FaceSet
        Of the split "train".
    views : int
        Variants of each face, drawn once: the price of a front that runs once.
    without : str, optional
        A generator whose forgeries are left out (cross-manipulation).

    Raises
    ------
    ValueError
        A group has no face.
    """
    rng = np.random.default_rng(seed)
    kinds = np.array(faces.kinds)
    blends = np.isin(kinds, ["SBI", "SBI real"])
    labels = faces.labels.numpy()
    groups = {}
    for kind, own in (("original", ~blends), ("synthesised", blends)):
        for label in (0, 1):
            rows = np.flatnonzero(own & (labels == label) & (kinds != without))
            if not len(rows):
                raise BadInput(f"no {('real', 'fake')[label]} faces for the {kind} data")
            variants = [augment(faces.images[rows], rng) for _ in range(views)]
            groups[kind, label] = torch.stack([model.fixed(v / 127.5 - 1) for v in variants])
    return TrainingData(groups)


def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirrored (p 0.5), jittered (p 0.3), JPEG of quality 40 to 100 (p 0.5); 0..255, float32.

    Drawn alike for real and fake. `images` uint8, shape [N, 3, S, S].
    """
    made = []
    for image in images:
        pixels = image.permute(1, 2, 0).numpy()
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if rng.random() < 0.3:
            contrast, brightness = rng.uniform(-0.3, 0.3, 2)
            shift = rng.uniform(-20, 20, 3) + 255 * brightness
            pixels = (pixels * (1 + contrast) + shift).clip(0, 255).astype(np.uint8)
        if rng.random() < 0.5:
            picture = Image.fromarray(np.ascontiguousarray(pixels))
            pixels = np.asarray(jpeg_copy(picture, int(rng.integers(40, 101))))
        made.append(torch.from_numpy(np.array(pixels)).permute(2, 0, 1))
    return torch.stack(made).float()


@dataclass
class Training:
    """A trained detector and what was seen on the way."""

    model: Detector
    history: pd.DataFrame  # step, cosine, ratio, least_c, head_cosine, loss
    probes: pd.DataFrame = field(default_factory=pd.DataFrame)
    seconds: float = 0.0  # of CPU time per step


def train(
    arm: Arm | str,
    data: TrainingData,
    frozen: int,
    steps: int,
    seed: int = 0,
    rate: float = RATE,
    probes: int = 0,
) -> Training:
    """Train one arm; every arm of a seed starts from the same weights and sees the same draws.

    Parameters
    ----------
    arm : Arm, or its name in `ARMS`
    data : TrainingData
        Prepared with a detector of the same `frozen`.
    frozen, seed : int
        See `Detector`; `seed` also draws the batches.
    probes : int
        At this many steps, evenly spread, compare gradients of fresh batches (`probe`).
    """
    if isinstance(arm, str):
        if arm not in ARMS:
            raise BadInput(f"unknown arm {arm!r}; known: {', '.join(ARMS)}")
        arm = ARMS[arm]
    model, rng = Detector(frozen, seed), np.random.default_rng(seed)
    own = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(own, lr=rate, weight_decay=DECAY)
    history, seen, spent = [], [], 0.0
    every = max(1, steps // probes) if probes else 0
    for step in range(steps):
        if every and step % every == 0:
            seen += probe(model, data, np.random.default_rng((seed, step)), step)
        start = process_time()
        update, row = _update(arm, model, own, data, rng)
        for p, g in zip(own, update.split([p.numel() for p in own]), strict=True):
            p.grad = g.view_as(p)
        adam.step()
        spent += process_time() - start
        history.append({"step": step, **row})
    return Training(model, pd.DataFrame(history), pd.DataFrame(seen), spent / max(steps, 1))


def _update(
    arm: Arm, model: Detector, own: list, data: TrainingData, rng: np.random.Generator
) -> tuple[Tensor, dict]:
    """The arm's update from one batch, shape [P], and a row of the history."""
    kinds = [
        k for k, used in (("original", arm.original), ("synthesised", arm.synthesised)) if used
    ]
    parts = [data.batch(kind, 2 * GROUP // len(kinds), rng) for kind in kinds]
    h, logits = model(torch.cat([x for x, _ in parts]))  # one forward for both kinds
    sizes = [len(x) for x, _ in parts]
    outputs = list(zip(h.split(sizes), logits.split(sizes), [y for _, y in parts], strict=True))
    losses = [F.cross_entropy(out, y) for _, out, y in outputs]
    row = {"loss": sum(loss.item() for loss in losses) / len(losses)}
    if len(kinds) == 1:
        return flat(losses[0], own), row
    heads = [head_gradients(*out) for out in outputs]
    against = conflict_descent(*heads)
    o, s = (flat(loss, own, keep=True) for loss in losses)
    update = arm.rule(o, s)
    if arm.conflict:
        update = update + arm.conflict * flat(against, own)
    return update, row | relation(o, s) | {"head_cosine": 1 - float(against.detach())}


def flat(loss: Tensor, own: list, keep: bool = False) -> Tensor:
    """Gradient of a loss over all parameters that learn, shape [P]; zeros where it sees none."""
    found = torch.autograd.grad(loss, own, retain_graph=keep, allow_unused=True)
    pairs = zip(found, own, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def relation(o: Tensor, s: Tensor) -> dict[str, float]:
    """Cosine, ratio of lengths, and the least c at which UVS conflicts with neither."""
    mean = (o + s) / 2
    a, b = (float(F.cosine_similarity(g, mean, dim=0)) for g in (o, s))
    return {
        "cosine": float(F.cosine_similarity(o, s, dim=0)),
        "ratio": float(o.norm() / s.norm()),
        "least_c": max(0.0, -min(a, b)),
    }


def probe(model: Detector, data: TrainingData, rng: np.random.Generator, step: int) -> list[dict]:
    """Cosines of gradients of fresh batches: between the kinds, and the null within each kind.

    All batches are of one size: halves of a batch would be noisier, and conflict more by noise.
    """
    own = [p for p in model.parameters() if p.requires_grad]
    drawn = {}
    for kind in ("original", "synthesised"):
        for k in (0, 1):
            x, y = data.batch(kind, GROUP, rng)
            drawn[kind, k] = flat(F.cross_entropy(model(x)[1], y), own)
    pairs = {
        "between": [((a, k), (b, k)) for k in (0, 1) for a, b in [("original", "synthesised")]],
        "within original": [(("original", 0), ("original", 1))],
        "within synthesised": [(("synthesised", 0), ("synthesised", 1))],
    }
    return [
        {"step": step, "pair": name, "draw": i, **relation(drawn[a], drawn[b])}
        for name, both in pairs.items()
        for i, (a, b) in enumerate(both)
    ]
