"""Evaluations of runs, kept in the run's folder and found again."""

import os

import pandas as pd

from aef_core.metrics.evaluation import TABLE_FORMAT, Evaluator
from aef_core.models.base import fingerprint
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.store import Run, run_hash


def evaluate_run(
    run: Run, evaluator: Evaluator, budget: Budget = BOX, detect: bool = False
) -> pd.DataFrame:
    """The evaluation of a run, kept in its folder and found again for the same zoo and faces.

    `budget` is the one the run was made with: it decides what of delta a photo receives. `detect`
    as in `Evaluator`.
    """
    added = budget.added(evaluator.faces.images, run.delta)
    if run.path is None:
        return evaluator(added, detect)
    zoo = {name: fingerprint(model) for name, model in evaluator.zoo.items()}
    faces = evaluator.faces.fingerprint()
    key = run_hash({"zoo": zoo, "faces": faces, "format": TABLE_FORMAT, "detect": detect})
    path = run.path / f"evaluation-{key}.csv"
    if path.exists():
        return pd.read_csv(path)
    table = evaluator(added, detect)
    temporary = path.with_suffix(".tmp")
    table.to_csv(temporary, index=False)
    os.replace(temporary, path)
    return table
