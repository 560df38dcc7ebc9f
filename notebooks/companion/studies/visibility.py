"""Strength against visibility: interruption over the bound eps, and under stealthier budgets."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.metrics import SUCCESS_THRESHOLD, balance, nonempty_mean, protect
from aef_core.metrics.evaluation import evaluate_run
from aef_core.metrics.statistics import late_means
from aef_core.perturbation.budgets import Budget
from aef_core.perturbation.store import Run
from aef_core.runs import optimize
from companion.studies.budgets import faded
from companion.studies.resistance import saturation
from companion.studies.study import Lab

Method = tuple[str, dict[str, Any]]  # rule and its settings


def radii(lab: Lab, method: Method, epsilons: Iterable[float]) -> pd.DataFrame:
    """One rule at several bounds, seed 0, the step growing with the bound.

    Returns
    -------
    DataFrame, one row per eps and generator: eps, model, l2_mask, sr_mask, weight (late mean),
    saturation, psnr, ssim.
    """
    rule, settings = method
    blocks = []
    for eps in tqdm(list(epsilons), desc="radii", unit="run", leave=False):
        config = replace(
            lab.config, eps=eps, step_size=lab.config.step_size * (eps / lab.config.eps)
        )
        run = optimize(lab.zoo, lab.train, rule, config, settings=settings)
        table = evaluate_run(run, lab.evaluator)
        block = _per_model(table).assign(
            weight=late_means(run.history)["weight"], saturation=saturation(run.delta, eps)
        )
        blocks.append(block.assign(eps=eps).reset_index())
    return pd.concat(blocks, ignore_index=True)


def critical_radius(sweep: pd.DataFrame, level: float = SUCCESS_THRESHOLD) -> pd.Series:
    """The bound at which each generator's mean L2_mask reaches a level.

    Interpolated between the two neighbouring bounds on logarithmic axes, where interruption is
    nearly straight. Infinite if no bound of the sweep reaches the level; the smallest bound if all
    do.

    Parameters
    ----------
    sweep : DataFrame with columns eps, model, l2_mask
    """
    found = {}
    for model, part in sweep.groupby("model", sort=False):
        ordered = part.sort_values("eps")
        x, y = np.log(ordered["eps"].to_numpy()), ordered["l2_mask"].to_numpy()
        above = np.flatnonzero(y >= level)
        if len(above) == 0:
            found[model] = float("inf")
        elif above[0] == 0:
            found[model] = float(np.exp(x[0]))
        else:
            i = above[0]
            low, high = np.log(max(y[i - 1], 1e-12)), np.log(y[i])
            share = (np.log(level) - low) / (high - low)
            found[model] = float(np.exp(x[i - 1] + share * (x[i] - x[i - 1])))
    return pd.Series(found, name="critical eps")


def evenness(sweep: pd.DataFrame, by: str) -> pd.DataFrame:
    """Balance of the mean L2_mask, and worst over best, for each value of a column."""
    rows = {}
    for value, part in sweep.groupby(by, sort=False):
        levels = part["l2_mask"]
        rows[value] = balance(levels) | {"worst / best": levels.min() / levels.max()}
    return pd.DataFrame(rows).T.rename_axis(by)


def under_budgets(
    lab: Lab, budgets: Mapping[str, Budget], methods: Mapping[str, Method]
) -> tuple[dict[tuple[str, str], Run], pd.DataFrame]:
    """Every rule under every budget, seed 0, judged on unseen faces.

    Returns
    -------
    runs : dict of (budget, method) to Run
    table : DataFrame, one row per budget, method and generator: budget, method, model, l2_mask,
        sr_mask, psnr, ssim (of the published photos).
    """
    runs, blocks = {}, []
    todo = [(b, m) for b in budgets for m in methods]
    for name, label in tqdm(todo, desc="budgets", unit="run", leave=False):
        rule, settings = methods[label]
        budget = budgets[name]
        run = optimize(lab.zoo, lab.train, rule, lab.config, budget=budget, settings=settings)
        table = evaluate_run(run, lab.evaluator, budget)
        runs[name, label] = run
        blocks.append(_per_model(table).assign(budget=name, method=label).reset_index())
    table = pd.concat(blocks, ignore_index=True)
    return runs, table[["budget", "method", *table.columns[:-2]]]


def at_equal_visibility(
    lab: Lab,
    runs: Mapping[tuple[str, str], Run],
    budgets: Mapping[str, Budget],
    target: float,
    measure: str = "ssim",
) -> pd.DataFrame:
    """The same perturbations, each scaled down until the photos reach a target (`budgets.faded`).

    Returns
    -------
    DataFrame as from `under_budgets`. A perturbation already less visible than the target
    stays as it is; its `ssim` or `psnr` says so.
    """
    images, blocks = lab.test.images, []
    for (name, label), run in runs.items():
        added = budgets[name].added(images, run.delta)
        table = lab.evaluator(faded(images, added, target, measure))
        blocks.append(_per_model(table).assign(budget=name, method=label).reset_index())
    table = pd.concat(blocks, ignore_index=True)
    return table[["budget", "method", *table.columns[:-2]]]


def trade_off(table: pd.DataFrame) -> pd.DataFrame:
    """One row per budget and method: worst, mean, spread, worst / best, PSNR, SSIM."""
    rows = {}
    for key, part in table.groupby(["budget", "method"], sort=False):
        levels = part["l2_mask"]
        rows[key] = balance(levels) | {
            "worst / best": levels.min() / levels.max(),
            "psnr": part["psnr"].mean(),
            "ssim": part["ssim"].mean(),
        }
    return pd.DataFrame(rows).T.rename_axis(["budget", "method"]).drop(columns="cv")


def protected_faces(
    lab: Lab,
    runs: Mapping[tuple[str, str], Run],
    budgets: Mapping[str, Budget],
    method: str,
    n: int = 6,
) -> dict[str, Tensor]:
    """Published photos under each budget, for a picture: label to images, [n, 3, H, W]."""
    images = lab.test.images[:n]
    rows = {"original": images}
    for name, budget in budgets.items():
        rows[name] = protect(images, budget.added(images, runs[name, method].delta))
    return rows


def _per_model(table: pd.DataFrame) -> pd.DataFrame:
    means = nonempty_mean(table, "model", ["l2_mask", "psnr", "ssim", "interrupted"])
    return means.rename(columns={"interrupted": "sr_mask"})
