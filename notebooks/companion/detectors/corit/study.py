"""CoRIT's questions as runs: a grid of radii, the GSNR of its cells, rival cures."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from aef_core.atomic import write_text
from aef_core.errors import must_be_file
from companion.detectors.corit.bench import EDIT, SEMANTIC, TRACE, Bench, detector_on
from companion.detectors.corit.gsnr import (
    curvature,
    gradient_moments,
    gsnr_table,
    predicted_radius,
)
from companion.detectors.corit.parts import parts_table
from companion.detectors.corit.radius import radius_table
from companion.detectors.corit.training import (
    Outcome,
    SamConfig,
    Task,
    balanced,
    train_detector,
    with_label_noise,
)
from companion.detectors.corit.vit import Detector
from companion.detectors.study import KEPT, MADE_BY

TABLES = ("runs", "cells", "blocks", "rivals", "parts")
KEY = ["task", "encoder", "rho", "seed"]
NOISE = 0.5  # share of labels drawn anew: the intervention that lowers GSNR


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


def judged_tasks(bench: Bench) -> dict[str, Task]:
    """The semantic and the non-semantic task, and both under label noise."""
    pair = [bench.tasks[EDIT], bench.tasks[TRACE]]
    return {t.name: t for t in (*pair, *(with_label_noise(t, NOISE) for t in pair))}


def all_runs(bench: Bench, path: Path | None = None) -> pd.DataFrame:
    """Every task on every encoder (under label noise: the semantic one), radius and seed.

    With a path the rows that it holds are not trained again, and each new one is written.
    """
    rows = pd.read_csv(path).to_dict("records") if path and path.exists() else []
    done = {tuple(row[k] for k in KEY) for row in rows}
    tasks = judged_tasks(bench)
    grid = list(product(bench.size.seeds, tasks, bench.encoders, bench.size.radii))
    for seed, task, start, rho in tqdm(grid, desc="trainings", unit="run", leave=False):
        noisy = task not in bench.tasks
        if (task, start, rho, seed) in done or (noisy and start != SEMANTIC):
            continue
        config = replace(bench.size.sam, rho=rho, seed=seed)
        detector = detector_on(bench.encoders[start], tasks[task], seed)
        outcome = train_detector(detector, tasks[task], config)
        rows.append(row_of(outcome, task=task, encoder=start))
        if path:
            write_text(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"))
    return pd.DataFrame(rows)


def start_lens(
    bench: Bench, task: Task, encoder: str, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, float]]:
    """GSNR by block where training starts, and what the stand-in predicts for the radius.

    Returns
    -------
    blocks : DataFrame
        From `gsnr_table`.
    whole : dict
        gsnr, median, noise (trace of the covariance), curvature, predicted (radius).
    """
    rows = balanced(task.labels, bench.size.samples, torch.Generator().manual_seed(seed))
    detector = detector_on(bench.encoders[encoder], task, seed).eval()
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


def collapsed_cell(runs: pd.DataFrame) -> tuple[str, str, float]:
    """Task, encoder and radius at which most seeds collapse: the largest radius of those."""
    ordered = runs.sort_values("rho", ascending=False, kind="stable")
    return ordered.groupby(["task", "encoder", "rho"], sort=False)["collapsed"].mean().idxmax()


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


def tables_of(bench: Bench, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """All that the falsifiers read: the runs, and what is measured after them.

    Returns
    -------
    dict with "runs"; "cells", critical radii a seed beside GSNR; "blocks", GSNR by depth of each;
    "rivals", cures where most seeds collapse; "parts", AUC with each part.
    """
    tasks = judged_tasks(bench)
    cells = radius_table(runs, ["task", "encoder", "seed"])
    keys = list(cells[["task", "encoder", "seed"]].itertuples(index=False, name=None))
    lenses = {(task, *rest): start_lens(bench, tasks[task], *rest) for task, *rest in keys}
    blocks = pd.concat(
        {k: lens[0] for k, lens in lenses.items()}, names=["task", "encoder", "seed"]
    )
    blocks = blocks.reset_index()
    pair = {name: task for name, task in tasks.items() if name in bench.tasks}
    task, encoder, rho = collapsed_cell(runs[runs["task"].isin(pair)])
    rivals = rival_runs(bench, tasks[task], encoder, rho)
    return {
        "runs": runs,
        "cells": cells.join(pd.DataFrame([lens[1] for lens in lenses.values()])),
        "blocks": blocks[blocks["block"].str.startswith("block")],
        "rivals": rivals.assign(task=task, encoder=encoder),
        "parts": parts_table(bench.encoders[SEMANTIC], pair),
    }


def keep(tables: Mapping[str, pd.DataFrame], settings: Mapping, folder: Path) -> None:
    """Write every table as `corit_NAME.csv`, and the settings of the run."""
    for name, table in tables.items():
        write_text(folder / f"corit_{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    write_text(folder / "corit.json", json.dumps(settings, indent=1) + "\n")


def kept_tables(folder: Path = KEPT) -> tuple[dict[str, pd.DataFrame], dict]:
    """The long run's tables as they ship, and its settings.

    Raises
    ------
    FileNotFoundError
        They are not there.
    """
    path = folder / "corit.json"
    must_be_file(path, MADE_BY)
    tables = {name: pd.read_csv(folder / f"corit_{name}.csv") for name in TABLES}
    return tables, json.loads(path.read_text())
