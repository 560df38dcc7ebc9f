"""Judging kept runs on whatever faces, and a short live run beside them."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd
from tqdm.auto import tqdm

from aef_core.jobs import Job, map_runs
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.metrics.statistics import method_balance
from companion.kept import published
from companion.kept.store import Kept
from companion.studies.differences import REFERENCE
from companion.studies.references import evaluate_each
from companion.studies.study import Lab, Runs, labelled, refuse_overlap

MEASURES = {"min": "worst generator", "mean": "mean"}


def chosen(runs: Kept, labels: Sequence[str] = (), references: bool = True) -> Kept:
    """The runs of these labels (all by default), with or without the single-model references."""
    return {
        key: run
        for key, run in runs.items()
        if (references if key[0].startswith(REFERENCE) else not labels or key[0] in labels)
    }


def judged(runs: Kept, evaluator: Evaluator) -> pd.DataFrame:
    """Every run judged on the evaluator's faces: forward passes only, found again the second time.

    Returns
    -------
    DataFrame
        As from `study.compare`; the single-model references, each judged on its own generator,
        are the method `differences.REFERENCE`, and come first.

    Raises
    ------
    BadInput
        A run was optimised on one of these faces.
    """
    tables, alone = [], {}
    for (label, seed), run in tqdm(runs.items(), desc="judged", unit="run", leave=False):
        refuse_overlap(run.faces, evaluator.faces)
        if label.startswith(REFERENCE):
            alone[label.removeprefix(f"{REFERENCE}: ")] = run
        else:
            tables.append(evaluate_run(run, evaluator).assign(method=label, seed=seed))
    if alone:
        tables.insert(0, evaluate_each(alone, evaluator))
    table = pd.concat(tables, ignore_index=True)
    front = ["method", "seed"]
    return table[[*front, *(c for c in table.columns if c not in front)]]


def live(lab: Lab, labels: Sequence[str]) -> tuple[Runs, pd.DataFrame]:
    """A few methods optimised now: schedules reduced to the profile's size, one seed.

    To a third of its steps, since feature steps make each nearly three times as dear.

    Returns
    -------
    runs, table
        As of `study.compare`.
    """
    steps = max(1, lab.profile.steps // 3)
    refuse_overlap(lab.train, lab.test)
    jobs = [*published.jobs(lab.zoo, len(lab.train), steps, 1, (), labels)]
    return labelled(jobs, *map_runs(lab.zoo, lab.train, jobs, lab.evaluator))


def per_image(lab: Lab, method: str = "pgd") -> tuple[Runs, pd.DataFrame]:
    """A method that makes a perturbation for each photo, on the judged faces themselves.

    Optimised now, with the method's own schedule; as of `study.compare`, labelled "... per image".
    """
    job = Job(method, {"universal": False}, lab.config, f"{method.upper()} per image")
    return labelled([job], *map_runs(lab.zoo, lab.test, [job], lab.evaluator))


def disagreements(quick: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """Where a short run and the kept one rank two methods differently: a sentence each.

    By worst generator and by mean over generators, for every pair of methods that both tables have;
    levels alone, without intervals. If there is none, one sentence says so.
    """
    first, second = method_balance(quick), method_balance(kept)
    common = [method for method in first.index if method in second.index]
    said = []
    for measure, words in MEASURES.items():
        for a, b in combinations(common, 2):
            gaps = [table.loc[a, measure] - table.loc[b, measure] for table in (first, second)]
            if gaps[0] * gaps[1] < 0:
                above, below = (a, b) if gaps[0] > 0 else (b, a)
                said.append(f"{words}: {above} is above {below} in the short run, below in the "
                            "kept one")  # fmt: skip
    return said or [f"short and kept runs rank {', '.join(common)} alike"]


def schedule_words(runs: Kept) -> str:
    """The schedule of kept runs in one sentence."""
    records = [run.record for run in runs.values()]
    steps, n = records[0]["scheduled"], records[0]["faces"]
    reduced = f"schedules reduced to {steps} of {published.STEPS} steps"
    head = "published schedules" if steps == published.STEPS else reduced
    return f"{len(runs)} kept runs, {head}, {n} optimising faces, made on {records[0]['device']}"
