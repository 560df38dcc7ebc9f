"""Making the kept set, once: on a GPU minutes, on two cores a night. A stopped call goes on."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from aef_core.config import home
from aef_core.errors import AEFError, BadInput
from aef_core.faces import FaceBatch
from aef_core.jobs import map_runs
from aef_core.perturbation import State
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from companion.kept import published
from companion.kept.stopping import until_rest
from companion.kept.store import KEPT, Kept, load, save
from companion.studies.differences import REFERENCE
from companion.studies.references import levels_reached, single_model
from companion.studies.study import Lab


def make(
    zoo: Zoo,
    faces: FaceBatch,
    steps: int = published.STEPS,
    seeds: int = published.SEEDS,
    *,
    labels: Sequence[str] = (),
    folder: Path = KEPT,
    execution: Execution = PLAIN,
    scheduler: str | None = None,
    progress: bool = True,
    on_step: Callable[[State], None] | None = None,
) -> Kept:
    """Make every run of `published` and write the set; finished runs are found again.

    A run ends before its schedule once it is at rest (see `stopping`; the set says which and when),
    but for the references, which the others are measured by, and on a cluster.

    Parameters
    ----------
    faces : FaceBatch
        Faces to optimise on.
    steps : int
        `published.STEPS`, or less for schedules reduced in proportion; the set says which.
    seeds : int
        At most so many of each method.
    labels : sequence of str
        Only these methods of `published.SCHEDULES`; the references are always made.
    execution : Execution
        How a step is computed; a run's record says so where it changes more than rounding.
    scheduler, progress, on_step
        As in `map_runs`.
    """
    if not 1 <= steps <= published.STEPS:
        raise BadInput(f"steps must lie in 1 .. {published.STEPS}, got {steps}")
    config = published.reference_config(steps)
    shared = {"scheduler": scheduler, "progress": progress}
    alone = single_model(zoo, faces, config, published.REFERENCES, execution=execution, **shared)
    planned = published.jobs(zoo, len(faces), steps, seeds, levels_reached(alone), labels)
    jobs = [replace(job, options={"execution": execution}) for job in planned]
    runs: dict[tuple[str, int], Run] = {
        (f"{REFERENCE}: {name}", config.seed): run for name, run in alone.items()
    }
    keys, why = [(job.label, job.config.seed) for job in jobs], {}
    if scheduler or os.environ.get("AEF_SCHEDULER"):
        runs |= zip(keys, map_runs(zoo, faces, jobs, **shared)[0], strict=True)
    else:
        bar = tqdm(jobs, desc="runs", unit="run", leave=False, disable=not progress)
        for key, job in zip(keys, bar, strict=True):
            runs[key], why[key] = until_rest(zoo, faces, job, progress=progress, on_step=on_step)
    save(runs, steps, folder, why)
    return load(zoo, faces, folder)


def at_hand(lab: Lab) -> Kept:
    """The kept runs for a notebook: of the embedded zoo, or in smoke a tiny set made on the spot.

    Raises as `load` does.
    """
    if lab.profile.name != "smoke":
        return load(lab.zoo)
    folder, faces = home() / "kept", lab.train[:2]
    try:
        return load(lab.zoo, faces, folder)
    except AEFError:  # none yet, or one of an earlier list
        return make(lab.zoo, faces, 1, len(lab.profile.seeds), folder=folder, progress=False)
