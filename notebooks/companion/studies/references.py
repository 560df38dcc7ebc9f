"""Single-model references: what a perturbation made for one generator alone reaches.

Every comparison measures itself by them: a level that is little for one generator is out of reach
of another. Loss, budget and steps are those of a config. A reference of finitely many steps is a
lower bound of what is possible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from aef_core.faces import FaceBatch
from aef_core.jobs import Job, map_runs
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.metrics.statistics import last_quarter
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from companion.studies.differences import REFERENCE


def single_model(
    zoo: Zoo,
    faces: FaceBatch,
    config: PerturbationConfig,
    methods: Sequence[str] = ("uniform",),
    *,
    scheduler: str | None = None,
    progress: bool = True,
    **options: Any,
) -> dict[str, Run]:
    """One perturbation per generator, made for it alone.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
        Other targets too, if the options bring their `objective`.
    faces : FaceBatch
        Faces to optimise on; the evaluation faces stay unseen.
    config : PerturbationConfig
    methods : sequence of str
        What to make it with. Of several, a generator keeps the run that moved its outputs furthest
        on `faces`: one can be stuck where another is not.
    scheduler, progress
        As in `jobs.map_runs`.
    **options
        As in `runs.optimize`. Stored runs are found again.

    Returns
    -------
    dict of generator to Run, in the order of the zoo
    """
    tries = [(name, method) for name in zoo for method in methods]
    jobs = [Job(how, config=config, models=(name,), options=options) for name, how in tries]
    runs, _ = map_runs(zoo, faces, jobs, scheduler=scheduler, progress=progress)
    best: dict[str, Run] = {}
    for (name, _), run in zip(tries, runs, strict=True):
        best[name] = max(best.get(name, run), run, key=reached)
    return best


def reached(run: Run, column: str = "output_mse") -> float:
    """A column of a run's history, its mean over the last quarter of the steps."""
    return float(last_quarter(run.history)[column].mean())


def outputs_alone(config: PerturbationConfig) -> PerturbationConfig:
    """The config with the loss of MI-FGSM: output MSE without features, momentum 1."""
    return replace(config, momentum=1.0, feature_weight=0.0, feature_steps=0)


def evaluate_each(runs: Mapping[str, Run], evaluator: Evaluator) -> pd.DataFrame:
    """Every reference judged on its own generator.

    Returns
    -------
    DataFrame
        As from `study.compare`, the method being `differences.REFERENCE`.
    """
    tables = []
    for name, run in runs.items():
        judge = Evaluator({name: evaluator.zoo[name]}, evaluator.faces, evaluator.batch)
        seed = run.config["loop"]["seed"]
        tables.append(evaluate_run(run, judge).assign(method=REFERENCE, seed=seed))
    return pd.concat(tables, ignore_index=True)


def levels_reached(runs: Mapping[str, Run], column: str = "output_mse") -> tuple[float, ...]:
    """What `max-min` balances against: a column's mean over the last quarter of each reference.

    In the order of `runs`; units of the column of `Run.history`.
    """
    return tuple(reached(run, column) for run in runs.values())
