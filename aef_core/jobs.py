"""Many runs: methods x seeds x budgets x images, one after the other or on a Dask cluster.

Runs share nothing but the store, so they need no order, and a cluster gives the tables that this
machine gives. A finished run is stored under its hash and found again, an unfinished one goes on
where it stopped: the same call, made again after any failure, loses nothing.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from aef_core.config import home
from aef_core.errors import AEFError, BadInput
from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.budgets import BOX
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run, save_run
from aef_core.runs import optimize

Done = tuple[Run, pd.DataFrame | None]


class LostWorkers(AEFError, RuntimeError):
    """A run brought down every worker that tried it; the message names the run."""


@dataclass(frozen=True)
class Job:
    """One run of many: `method`, `settings` and `config` as in `optimize`."""

    method: str = "aef"
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: PerturbationConfig = field(default_factory=PerturbationConfig)
    label: str = ""  # what tables and figures call it; the method's name by default
    models: tuple[str, ...] | None = None  # of the zoo, to optimise against and to judge on; or all
    faces: FaceBatch | None = None  # of its own, down to a single image; or those of `map_runs`
    options: Mapping[str, Any] = field(default_factory=dict)  # more for `optimize`, e.g. a budget

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.method)


def map_runs(
    zoo: Zoo,
    faces: FaceBatch,
    jobs: Iterable[Job],
    evaluator: Evaluator | None = None,
    *,
    scheduler: str | None = None,
    progress: bool = True,
    on_step: Callable[[State], None] | None = None,
) -> tuple[list[Run], list[pd.DataFrame]]:
    """Make every run or find it in the store, and judge each where it was made.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
        On a cluster, its device is one that every worker has.
    faces : FaceBatch
        Faces to optimise on, for jobs that bring none.
    jobs : iterable of Job
    evaluator : Evaluator, optional
        Judges each run, on the job's generators; without it no run is judged.
    scheduler : str, optional
        Address of a Dask scheduler, e.g. "tcp://head:8786"; `AEF_SCHEDULER` by default. Without
        either, this process makes one run after the other. Workers need this package, and one
        thread each: PyTorch brings its own. Where they share this `AEF_HOME`, the run of a worker
        that died resumes, else it starts anew.
    progress, on_step
        As in `optimize`; `on_step` is not called on a cluster.

    Returns
    -------
    runs : list of Run, in the order of the jobs; each is also in this machine's store
    tables : list of DataFrame, their evaluations; empty without an evaluator

    Raises
    ------
    ValueError
        No scheduler answers at the address; or as in `optimize`.
    LostWorkers
        A run brought down every worker that tried it.
    """
    jobs, bench = list(jobs), _Bench(dict(zoo), faces, evaluator)
    address = os.environ.get("AEF_SCHEDULER") if scheduler is None else scheduler
    with tqdm(total=len(jobs), desc="runs", unit="run", leave=False,
              disable=not progress or len(jobs) < 2) as bar:  # fmt: skip
        if address:
            done = _on_cluster(bench, jobs, address, bar)
        else:
            done = []
            for job in jobs:
                done.append(bench.make(job, progress=progress, on_step=on_step))
                bar.update()
    return [run for run, _ in done], [table for _, table in done if table is not None]


@dataclass(frozen=True)
class _Bench:
    """What all jobs share."""

    zoo: Zoo
    faces: FaceBatch
    evaluator: Evaluator | None

    def make(self, job: Job, **options: Any) -> Done:
        """Optimise, or find the run; judge it."""
        zoo, judge = self.zoo, self.evaluator
        if job.models is not None:
            zoo = {name: self.zoo[name] for name in job.models}
            judge = judge and Evaluator(zoo, judge.faces, judge.batch)
        faces = self.faces if job.faces is None else job.faces
        options = {**job.options, **options}
        run = optimize(zoo, faces, job.method, job.config, settings=job.settings, **options)
        return run, judge and evaluate_run(run, judge, options.get("budget", BOX))


def _on_cluster(bench: _Bench, jobs: list[Job], address: str, bar: tqdm) -> list[Done]:
    """Do all jobs on the workers of a scheduler; Dask gives those of a lost worker to another."""
    from dask import config
    from dask.distributed import Client, KilledWorker, as_completed, wait

    done: dict[int, Done] = {}
    # generators are sent once, and larger than what Dask thinks wise
    with config.set({"distributed.admin.large-graph-warning-threshold": "100GiB"}):
        client = Client.__new__(Client)
        try:
            client.__init__(address, set_as_default=False)
        except (OSError, ValueError) as error:
            client.status = "closed"  # else its end waits a minute for an answer
            raise BadInput(f"no Dask scheduler answers at {address!r} ({error}): start one "
                           "with `dask scheduler`, or unset AEF_SCHEDULER") from None  # fmt: skip
        with client, client.as_current():
            # a task, no scattered data: what a lost worker held of it can be made again
            shared = client.submit(_Bench, bench.zoo, bench.faces, bench.evaluator, pure=False)
            wait([shared])
            client.replicate([shared])  # Dask gives a job to a worker that holds what it needs
            places = {client.submit(_Bench.make, shared, job, progress=False, pure=False): i
                      for i, job in enumerate(jobs)}  # fmt: skip
            for future in as_completed(places):
                job = jobs[places[future]]
                try:
                    run, table = future.result()
                except KilledWorker:
                    name = f"{job.label!r}, seed {job.config.seed}"
                    raise LostWorkers(f"the run {name} brought down every worker that tried it: "
                                      "give workers more memory") from None  # fmt: skip
                done[places[future]] = _stored(run), table
                bar.update()
    return [done[i] for i in range(len(jobs))]


def _stored(run: Run) -> Run:
    """The run in this machine's store, whatever store its worker has."""
    if run.path is None:
        return run
    folder = home() / run.path.name
    if not folder.exists():
        save_run(folder, run)
    return replace(run, path=folder)
