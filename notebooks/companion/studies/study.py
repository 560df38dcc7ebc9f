"""Comparing methods: several seeds, the same faces, intervals that respect both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from aef_core.atomic import write_text
from aef_core.config import default_device, home
from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, load_faces
from aef_core.faces.sources import SIDE
from aef_core.jobs import Job, map_runs
from aef_core.metrics import Evaluator, nonempty_mean, protect
from aef_core.metrics.statistics import intervals as intervals
from aef_core.metrics.statistics import last_quarter, method_balance
from aef_core.models import DeepfakeModel
from aef_core.models.zoo import load_zoo
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from companion.bench.subjects import random_zoo
from companion.config import Profile, get_profile
from companion.studies.differences import REFERENCE as REFERENCE
from companion.studies.differences import above_random
from companion.studies.differences import difference as difference
from companion.studies.differences import verdict as verdict
from companion.studies.equilibrium import equilibrium_residual

Runs = dict[tuple[str, int], Run]


def grid(
    methods: Mapping[str, tuple[str, dict[str, Any]]],
    config: PerturbationConfig,
    seeds: Iterable[int] = (0,),
    epsilons: Iterable[float] | None = None,
) -> list[Job]:
    """Every method with every seed and bound. The step scales with eps: the schedule is the same.

    `methods` maps labels to (method, settings); `epsilons`, in [-1, 1] units, is the config's by
    default.
    """
    bounds = (config.eps,) if epsilons is None else epsilons
    jobs = []
    for (label, (method, settings)), seed, eps in product(methods.items(), seeds, bounds):
        step = config.step_size * (eps / config.eps)
        loop = replace(config, seed=seed, eps=eps, step_size=step)
        jobs.append(Job(method, settings, loop, label))
    return jobs


def compare(
    zoo: Zoo,
    train: FaceBatch,
    evaluator: Evaluator,
    methods: Mapping[str, tuple[str, dict[str, Any]]],
    config: PerturbationConfig,
    seeds: Iterable[int] = (0,),
) -> tuple[Runs, pd.DataFrame]:
    """Optimise every method with every seed on `train`, judge each on the evaluator's faces.

    Parameters
    ----------
    methods : mapping of label to (method, settings)
        For example `{"AEF": ("aef", {"tau": 0.1})}`.

    Returns
    -------
    runs : dict of (label, seed) to Run
    table : DataFrame
        The evaluations of all runs, with columns method and seed in front.

    Raises
    ------
    ValueError
        If a face occurs both among the optimising and the evaluation faces.
    """
    refuse_overlap(train, evaluator.faces)
    jobs = grid(methods, config, seeds)
    made, tables = map_runs(zoo, train, jobs, evaluator)
    return labelled(jobs, made, tables)


def labelled(
    jobs: Iterable[Job], runs: Iterable[Run], tables: Iterable[pd.DataFrame]
) -> tuple[Runs, pd.DataFrame]:
    """The results of `map_runs` by label and seed: runs, and one table with both in front."""
    keys = [(job.label, job.config.seed) for job in jobs]
    parts = [t.assign(method=m, seed=s) for (m, s), t in zip(keys, tables, strict=True)]
    table = pd.concat(parts, ignore_index=True)
    front = ["method", "seed"]
    order = [*front, *(c for c in table.columns if c not in front)]
    return dict(zip(keys, runs, strict=True)), table[order]


def refuse_overlap(train: FaceBatch, test: FaceBatch) -> None:
    """Raise ValueError if the two batches share a face of one source."""
    shared = sorted(set(train.names) & set(test.names)) if train.source == test.source else []
    if shared:
        raise BadInput(
            f"{len(shared)} faces are in both sets, e.g. {shared[0]}: "
            "optimise and evaluate on different splits"
        )


def model_means(table: pd.DataFrame, column: str = "l2_mask") -> pd.Series:
    """Mean of a column per method and generator, empty masks left out."""
    return nonempty_mean(table, ["method", "model"], column)


def results_table(table: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """The results in one view: per generator L2_mask, then SR, balance, residual, visibility.

    One row per method; means over images, edits and seeds. `edit survival` is the mean over
    generators, `residual` the equilibrium residual of S over the last quarter of the steps;
    `not above random` names the generators a method leaves there (the table needs the random rows).
    """
    rows = model_means(table).unstack(sort=False)
    low = above_random(table)["low"].unstack("method")
    idle = pd.Series({m: ", ".join(low.index[low[m] <= 0]) for m in rows.index})
    by_model = model_means(table, "interrupted").unstack()
    survival = model_means(table, "survives").groupby("method", sort=False).mean()
    view = rows.assign(
        **method_balance(table), **{"min SR": by_model.min(axis=1), "edit survival": survival}
    )
    visible = table.groupby("method", sort=False)[["psnr", "ssim"]].mean()
    late = [(m, equilibrium_residual(last_quarter(r.history)).mean()) for (m, _), r in runs.items()]
    residuals = pd.DataFrame(late, columns=["method", "residual"]).groupby("method").mean()
    return view.join(visible).join(residuals).assign(**{"not above random": idle})


@dataclass(frozen=True)
class Lab:
    """What every notebook starts from: one profile's generators, faces and settings."""

    profile: Profile
    zoo: dict[str, DeepfakeModel]
    train: FaceBatch
    test: FaceBatch
    evaluator: Evaluator
    config: PerturbationConfig


def open_lab(profile: str | None = None) -> Lab:
    """The embedded zoo and faces, as many as a profile asks for.

    Parameters
    ----------
    profile : str, optional
        `AEF_PROFILE` or "quick" by default. In "smoke", whose numbers mean nothing, narrow
        untrained generators stand in for the zoo.
    """
    p = get_profile(profile)
    zoo = random_zoo(device=default_device(), image_size=SIDE) if p.name == "smoke" else load_zoo()
    train = load_faces("embedded", "train", n=p.n_train)
    test = load_faces("embedded", "test", n=p.n_test)
    config = PerturbationConfig(steps=p.steps, step_size=p.step_size, feature_steps=p.feature_steps)
    return Lab(p, zoo, train, test, Evaluator(zoo, test), config)


def story(
    zoo: Zoo, faces: FaceBatch, delta: Tensor, edit: str
) -> dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Per generator: original, forged, protected, and forged after protection, [N, 3, H, W]."""
    judge, protected = Evaluator(zoo, faces), protect(faces.images, delta)
    after = {name: judge.forge(protected, name, edit) for name in zoo}
    return {n: (faces.images, judge.forged(n, edit), protected, after[n]) for n in zoo}


def keep_results(results: pd.DataFrame, profile: str) -> Path:
    """Keep the results table where `make reproduce` finds it to print."""
    path = home() / f"results-{profile}.txt"
    note = "mean L2_mask on unseen faces; eps 0.05 on [-1, 1] images"
    write_text(path, f"{results.round(5).to_string()}\n({note}; profile {profile})\n")
    return path
