"""CoRIT's questions as runs: a grid of radii, the GSNR of its cells, rival cures."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from aef_core.config import get_profile
from aef_core.faces import FaceBatch, load_faces
from aef_core.models.zoo import load_zoo
from companion.detectors.corit import tasks
from companion.detectors.corit.contrastive import PretrainConfig, pretrain_semantic
from companion.detectors.corit.gsnr import (
    curvature,
    gradient_moments,
    gsnr_table,
    predicted_radius,
)
from companion.detectors.corit.radius import RADII
from companion.detectors.corit.training import (
    Outcome,
    SamConfig,
    Task,
    balanced,
    train_detector,
)
from companion.detectors.corit.vit import Detector, ViT
from companion.detectors.data import demo_set

SEMANTIC, RANDOM, BLENDS = "image-attribute", "random start", tasks.BLEND
EDIT, TRACE = tasks.EDIT, tasks.TRACE
VAL = 128  # faces judged on, at most


@dataclass(frozen=True)
class Size:
    """How much one profile computes; `encoder` are the settings of `ViT`."""

    faces: int
    encoder: dict[str, int]
    pretrain: PretrainConfig
    sam: SamConfig
    radii: tuple[float, ...]
    seeds: tuple[int, ...]
    samples: int


SIZES = {
    "smoke": Size(
        16, {"patch": 16, "dim": 24}, PretrainConfig(steps=2, batch=8),
        SamConfig(steps=2, batch=8), (0.0, 0.5), (0,), 8,
    ),
    "quick": Size(
        256, {"patch": 16, "dim": 48}, PretrainConfig(steps=100, batch=32),
        SamConfig(steps=60, batch=32, lr=3e-3), (0.0, 0.1, 0.5, 2.0), (0,), 128,
    ),
    "paper": Size(
        256, {"patch": 8, "dim": 192}, PretrainConfig(steps=3000),
        SamConfig(steps=1000, lr=3e-3), RADII, (0, 1, 2), 256,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """Tasks, and encoders trained before them, of one size."""

    size: Size
    tasks: dict[str, Task]
    encoders: dict[str, nn.Module]


def open_bench(
    profile: str | None = None, source: str = "embedded", root: str | Path | None = None
) -> Bench:
    """The tasks, and the three encoders, pre-trained here; self-blended images are the demo set's.

    Parameters
    ----------
    profile : str, optional
        "smoke", "quick" or "paper"; `AEF_PROFILE` or "quick" by default.
    source, root
        Faces of `load_faces`; the embedded ones need no root.
    """
    size = SIZES[get_profile(profile).name]
    zoo = load_zoo()
    pixels = next(iter(zoo.values())).image_size
    train = load_faces(source, "train", size.faces, root, pixels)
    val = load_faces(source, "test", min(VAL, size.faces), root, pixels)
    made = (
        tasks.edit_task(zoo, train, val),
        tasks.trace_task(train, val),
        tasks.blend_task(demo_set("train", n=size.faces), demo_set("val", n=min(96, size.faces))),
    )
    named = {task.name: task for task in made}
    return Bench(size, named, encoders(size, train, named[BLENDS]))


def encoders(size: Size, faces: FaceBatch, blends: Task) -> dict[str, nn.Module]:
    """The semantic encoder and its controls: the same random start, and one trained on blends."""
    with torch.random.fork_rng():
        torch.manual_seed(size.pretrain.seed)
        start = ViT(blends.images.shape[-1], **size.encoder)
        semantic, blended = copy.deepcopy(start), Detector(copy.deepcopy(start), blends.images)
    pretrain_semantic(semantic, tasks.reduced(faces.images), faces.attributes, size.pretrain)
    # as many steps, of the same optimiser
    pretrain_blends(blended, blends, size.pretrain)
    return {SEMANTIC: semantic, RANDOM: start, BLENDS: blended.encoder}


def pretrain_blends(detector: Detector, task: Task, config: PretrainConfig) -> Outcome:
    """Train a detector of self-blended images in place, by Adam, as long as the semantic one."""
    settings = SamConfig(
        rho=0, steps=config.steps, batch=config.batch, lr=config.lr, optimiser="adam"
    )
    return train_detector(detector, task, settings)


def detector_on(encoder: nn.Module, task: Task, seed: int) -> Detector:
    """A copy of the encoder under a new head of this seed, in units of the task's faces."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Detector(copy.deepcopy(encoder), task.images)


def trained_detector(bench: Bench, task: Task, encoder: str) -> Detector:
    """A detector of a task without SAM: what the proxy and the main story are judged with."""
    detector = detector_on(bench.encoders[encoder], task, bench.size.seeds[0])
    train_detector(detector, task, replace(bench.size.sam, rho=0))
    return detector


def row_of(outcome: Outcome, **cell: object) -> dict[str, object]:
    """One training as a row: its cell, rho, seed, auc, train_loss, collapsed, weight_norm."""
    return {
        **cell,
        "rho": outcome.config.rho,
        "seed": outcome.config.seed,
        "auc": outcome.auc,
        "train_loss": outcome.train_loss,
        "collapsed": outcome.collapsed,
        "weight_norm": outcome.weight_norm,
    }


def collapse_runs(
    bench: Bench,
    chosen: Iterable[Task],
    starts: Iterable[str] = (SEMANTIC, RANDOM, BLENDS),
    radii: Iterable[float] | None = None,
    **settings: object,
) -> pd.DataFrame:
    """Train every task on every encoder at every radius and seed; columns of `row_of`.

    `settings` change the `SamConfig`, for example `adaptive=True`.
    """
    todo = [
        (task, name, rho, seed)
        for task in chosen
        for name in starts
        for rho in (radii or bench.size.radii)
        for seed in bench.size.seeds
    ]
    rows = []
    for task, name, rho, seed in tqdm(todo, desc="trainings", unit="run", leave=False):
        config = replace(bench.size.sam, rho=rho, seed=seed, **settings)
        outcome = train_detector(detector_on(bench.encoders[name], task, seed), task, config)
        rows.append(row_of(outcome, task=task.name, encoder=name))
    return pd.DataFrame(rows)


def start_lens(bench: Bench, task: Task, encoder: str) -> tuple[pd.DataFrame, dict[str, float]]:
    """GSNR by block where training starts, and what the stand-in predicts for the radius.

    Returns
    -------
    blocks : DataFrame
        From `gsnr_table`.
    whole : dict
        gsnr, median, noise (trace of the covariance), curvature, predicted (radius).
    """
    generator = torch.Generator().manual_seed(0)
    rows = balanced(task.labels, bench.size.samples, generator)
    detector = detector_on(bench.encoders[encoder], task, bench.size.seeds[0]).eval()
    blocks = gsnr_table(gradient_moments(detector, task.images[rows], task.labels[rows]))
    whole = blocks.loc["all"]
    bend = curvature(detector, task, 0.05, rows)
    return blocks, {
        "gsnr": whole["gsnr"],
        "median": whole["median"],
        "noise": whole["noise"],
        "curvature": bend,
        "predicted": predicted_radius(whole["gsnr"], whole["noise"], bend),
    }


def cells_with_gsnr(bench: Bench, radii: pd.DataFrame, chosen: Iterable[Task]) -> pd.DataFrame:
    """Critical radii beside the GSNR of their cells; `radii` has columns task, encoder."""
    named = {task.name: task for task in chosen}
    rows = [
        row.to_dict() | start_lens(bench, named[row["task"]], row["encoder"])[1]
        for _, row in radii.iterrows()
    ]
    return pd.DataFrame(rows)


def rival_runs(bench: Bench, task: Task, encoder: str, rho: float) -> pd.DataFrame:
    """SAM at one radius, and the rivals' cures at the same one; one row a seed and arm.

    The warm start gives a tenth of the steps to SGD; "norm-only" moves the normalisation layers'
    parameters alone. GSNR is measured where SAM begins, so after the warm start.
    """
    arms = {
        "SAM": {},
        "SGD warm start": {"warm_start": 0.1},
        "norm-only": {"norm_only": True},
        "ASAM": {"adaptive": True},
    }
    rows = []
    for arm, change in arms.items():
        for seed in bench.size.seeds:
            config = replace(bench.size.sam, rho=rho, seed=seed, **change)
            outcome = train_detector(detector_on(bench.encoders[encoder], task, seed), task, config)
            value = _gsnr_where_sam_begins(bench, task, encoder, config)
            rows.append(row_of(outcome, arm=arm, gsnr=value))
    return pd.DataFrame(rows)


def _gsnr_where_sam_begins(bench: Bench, task: Task, encoder: str, config: SamConfig) -> float:
    detector = detector_on(bench.encoders[encoder], task, config.seed)
    warm = round(config.warm_start * config.steps)
    if warm:
        train_detector(detector, task, replace(config, rho=0, steps=warm, warm_start=0))
    rows = balanced(task.labels, bench.size.samples, torch.Generator().manual_seed(config.seed))
    moments = gradient_moments(detector.eval(), task.images[rows], task.labels[rows])
    return gsnr_table(moments).loc["all", "gsnr"]
