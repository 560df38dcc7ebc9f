"""Time and memory of a step as a problem grows, one quantity at a time."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
import torch
from tqdm.auto import tqdm

from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Problem, clean_references
from aef_core.weighting import make_rule
from companion.bench.measure import paired, peak_memory, stepper
from companion.bench.subjects import noise_faces, random_zoo

BASE = {"generators": 4, "image size": 64, "batch": 8, "images": 32}
QUICK = {
    "generators": (1, 2, 4, 8),
    "image size": (32, 64, 128),
    "batch": (1, 4, 16),
    "images": (8, 32, 64),
}
SMOKE = {"generators": (1, 2), "image size": (32, 64), "batch": (1, 2), "images": (4, 8)}


def growth(
    axes: Mapping[str, Iterable[int]] = QUICK,
    base: Mapping[str, int] = BASE,
    size: str = "tiny",
    execution: Execution = PLAIN,
    repetitions: int = 3,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """One point per value of each axis, the other quantities held at `base`.

    Returns
    -------
    DataFrame with columns axis, value, seconds and cpu_seconds (median per step), step_mb (peak
    of a step beyond these) and clean_mb (clean outputs and features), in MB of 10^6 bytes.
    """
    todo = [(axis, value) for axis, values in axes.items() for value in values]
    return pd.DataFrame(
        {"axis": axis, "value": value}
        | point({**base, axis: value}, size, execution, repetitions, device)
        for axis, value in tqdm(todo, desc="growth", unit="point", leave=False)
    )


def point(
    at: Mapping[str, int],
    size: str,
    execution: Execution,
    repetitions: int,
    device: str | torch.device,
) -> dict[str, float]:
    """Time and memory of the real loop at one setting; see `growth`."""
    zoo = random_zoo(size, at["generators"], device)
    faces = noise_faces(at["images"], at["image size"])
    config = PerturbationConfig(steps=10_000, batch=at["batch"])
    step = stepper(perturb(Problem(zoo, faces, execution=execution), make_rule("aef"), config))
    times = paired({"step": step}, repetitions, device=device)
    few = replace(faces, images=faces.images[:1], attributes=faces.attributes[:1],
                  names=faces.names[:1])  # fmt: skip
    one = [x for r in clean_references(zoo, few, 0, 1).values() for x in (r.outputs, r.features)]
    clean = sum(execution.cached(x).nbytes for x in one) * len(faces)
    return {
        "seconds": times["seconds"].median(),
        "cpu_seconds": times["cpu_seconds"].median(),
        "step_mb": peak_memory(step, device) / 1e6,
        "clean_mb": clean / 1e6,
    }
