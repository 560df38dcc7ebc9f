"""What CoRIT's runs stand on: sizes, tasks, and encoders trained before them."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from aef_core.faces import FaceBatch, load_faces
from aef_core.models.zoo import load_zoo
from companion.detectors.corit import tasks
from companion.detectors.corit.contrastive import PretrainConfig, pretrain_semantic
from companion.detectors.corit.radius import RADII
from companion.detectors.corit.training import (
    Outcome,
    SamConfig,
    Task,
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
    "kept": Size(  # of the tables that ship; cut from "paper" to half an hour of one core
        384, {"patch": 16, "dim": 48}, PretrainConfig(steps=200, batch=32),
        SamConfig(steps=60, batch=32, lr=3e-3), RADII, (0, 1, 2), 128,
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


def open_bench(size: Size, source: str = "embedded", root: str | Path | None = None) -> Bench:
    """The tasks, and the three encoders, pre-trained here; self-blended images are the demo set's.

    Parameters
    ----------
    size : Size
        One of `SIZES`.
    source, root
        Faces of `load_faces`; the embedded ones need no root.
    """
    zoo = load_zoo()
    train = load_faces(source, "train", size.faces, root)
    val = load_faces(source, "test", min(VAL, size.faces), root)
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
