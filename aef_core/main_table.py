"""The main table: every method against every generator, under one protocol.

Equal computation for all universal methods, the same faces, edits, budget and judge; at least
three seeds outside the smoke profile; intervals over images. Per-image methods see the judged faces
themselves, as in use, so they are a ceiling of another kind. Specialists are the ceilings.
"""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from aef_core.config import ASSETS
from aef_core.faces import FaceBatch
from aef_core.interruption import Zoo
from aef_core.methods import make_method, protect_with
from aef_core.metrics import Evaluator, balance, bootstrap_means, interval
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.runs import Run, evaluate_run
from aef_core.study import Runs, refuse_overlap
from aef_core.weighting import make_rule

Entry = tuple[str, dict[str, Any]]

ENTRIES: dict[str, Entry] = {
    "FGSM": ("fgsm", {}),
    "PGD": ("pgd", {}),
    "MI-FGSM": ("mi-fgsm", {}),
    "CMUA": ("cmua", {}),
    "FOUND": ("found", {}),
    "DWT": ("dwt", {}),
    "TSDF": ("tsdf", {}),
    "AEF": ("aef", {}),
    "max-min (ours)": ("max-min", {}),
    "FGSM per image": ("fgsm", {"universal": False}),
    "PGD per image": ("pgd", {"universal": False}),
    "MI-FGSM per image": ("mi-fgsm", {"universal": False}),
}
CEILING = "specialists"
BUDGETS = {"smoke": 2, "quick": 40, "paper": 480}  # plain steps a method may spend, by profile
MEASURES = {"l2_mask": "L2_mask", "interrupted": "SR_mask"}


def main_table(
    zoo: Zoo,
    train: FaceBatch,
    evaluator: Evaluator,
    config: PerturbationConfig,
    seeds: Iterable[int] = (0, 1, 2),
    entries: Mapping[str, Entry] = ENTRIES,
) -> tuple[Runs, pd.DataFrame]:
    """Optimise and judge every method with every seed, after the specialists.

    Parameters
    ----------
    config : PerturbationConfig
        Budget, step size and batch; `steps` is the computation each method may spend.
    entries : mapping of label to (method, settings)
        Methods with `universal=False` run with the first seed only, on the evaluator's faces.

    Returns
    -------
    runs : dict of (label, seed) to Run; the specialists' are under ("specialists: NAME", seed).
    table : DataFrame
        As from `study.compare`: a row per method, seed, image, generator and edit.
    """
    refuse_overlap(train, evaluator.faces)
    seeds = tuple(seeds)
    runs, tables = _ceilings(zoo, train, evaluator, replace(config, seed=seeds[0]))
    alone = {name: runs[f"{CEILING}: {name}", seeds[0]] for name in zoo}
    todo = [(label, s) for label in entries for s in (seeds if _universal(entries[label]) else
                                                      seeds[:1])]  # fmt: skip
    for label, seed in tqdm(todo, desc="methods", unit="run", leave=False):
        name, settings = entries[label]
        if name == "max-min":
            settings = {"ceilings": output_ceilings(alone), **settings}
        faces = train if _universal(entries[label]) else evaluator.faces
        run = protect_with(name, zoo, faces, replace(config, seed=seed), settings=settings)
        runs[label, seed] = run
        tables.append(evaluate_run(run, evaluator).assign(method=label, seed=seed))
    table = pd.concat(tables, ignore_index=True)
    return runs, table[["method", "seed", *(c for c in table if c not in ("method", "seed"))]]


def _universal(entry: Entry) -> bool:
    return entry[1].get("universal", True)


def _ceilings(
    zoo: Zoo, train: FaceBatch, evaluator: Evaluator, config: PerturbationConfig
) -> tuple[Runs, list[pd.DataFrame]]:
    """One perturbation per generator, for its outputs alone: what it can be interrupted at most."""
    runs, tables = {}, []
    for name, model in tqdm(zoo.items(), desc="specialists", unit="run", leave=False):
        run = protect_with("mi-fgsm", {name: model}, train, config)
        runs[f"{CEILING}: {name}", config.seed] = run
        judge = Evaluator({name: model}, evaluator.faces, evaluator.batch)
        tables.append(evaluate_run(run, judge).assign(method=CEILING, seed=config.seed))
    return runs, tables


def output_ceilings(alone: Mapping[str, Run]) -> tuple[float, ...]:
    """Output MSE each specialist ended with (last quarter of its steps), in the zoo's order."""
    levels = []
    for run in alone.values():
        late = run.history["output_mse"].iloc[-max(1, len(run.history) // 4) :]
        levels.append(float(late.mean()))
    return tuple(levels)


def summary(table: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """All numbers of the main table, long: method, measure, model, value, low, high.

    `model` is a generator, or min, mean or spread over generators, or empty. Intervals are 95 %
    bootstrap intervals over images; for seconds, the range over seeds.
    """
    rows = []
    for column, measure in MEASURES.items():
        draws = bootstrap_means(table, ["method", "model"], column)
        for method in table["method"].unique():
            levels = draws[method].dropna(axis=1, how="all")
            over = pd.DataFrame([balance(row) for row in levels.to_numpy()])
            both = pd.concat([levels, over[["min", "mean", "spread"]]], axis=1)
            rows += _tidy(method, measure, interval(both))
    seen = table.drop_duplicates(["method", "seed", "image", "model"]).assign(excluded=False)
    for measure in ("psnr", "ssim"):
        values = interval(bootstrap_means(seen, ["method"], measure))
        for method, row in values.iterrows():
            rows.append({"method": method, "measure": measure.upper(), "model": "", **row})
    for method in table["method"].unique():
        times = [r.seconds for (label, _), r in runs.items() if label == method]
        times = times or [r.seconds for (label, _), r in runs.items() if label.startswith(method)]
        spent = {"value": sum(times) / len(times), "low": min(times), "high": max(times)}
        rows.append({"method": method, "measure": "seconds", "model": "", **spent})
    return pd.DataFrame(rows)


def _tidy(method: str, measure: str, values: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"method": method, "measure": measure, "model": model, **row}
        for model, row in values.iterrows()
    ]


def view(numbers: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """The table to look at: a row per method, `min` and `spread` with their intervals."""
    order = list(dict.fromkeys(numbers["method"]))
    wide = numbers.pivot(index="method", columns=["measure", "model"], values="value").loc[order]
    columns = {}
    for measure, model in dict.fromkeys(zip(numbers["measure"], numbers["model"], strict=True)):
        name = f"{measure} {model}".strip()
        part = wide[measure, model].map(lambda v: f"{v:.{digits}f}" if pd.notna(v) else "")
        if model in ("min", "spread"):
            bounds = numbers[(numbers["measure"] == measure) & (numbers["model"] == model)]
            bounds = bounds.set_index("method").loc[order]
            ends = zip(part, bounds["low"], bounds["high"], strict=True)
            part = [f"{v} [{a:.{digits}f}, {b:.{digits}f}]" for v, a, b in ends]
        columns[name] = pd.Series(part, index=order)
    return pd.DataFrame(columns)


def planned_steps(
    entries: Mapping[str, Entry], config: PerturbationConfig, n_train: int, judge: Evaluator,
    seeds: int,
) -> pd.Series:  # fmt: skip
    """What the table costs, in plain steps (all generators forward and backward on a batch).

    An edit of a photo costs about a third of a generator's share of a step. Poison, small as it is,
    is left out.
    """
    n_test = len(judge.faces)
    pairs = n_test * sum(len(model.edits) for model in judge.zoo.values())
    judging = pairs / (3 * len(judge.zoo) * config.batch)
    cost = {CEILING: config.steps + judging}
    for label, entry in entries.items():
        method, universal = make_method(entry[0], **entry[1]), _universal(entry)
        loop = method.loop(config, n_train if universal else n_test)
        steps = loop.steps - getattr(method, "poison_steps", 0)
        work = steps * method.cost * loop.batch / config.batch
        cost[label] = (work + judging) * (seeds if universal else 1)
    return pd.Series(cost, name="plain steps")


def seconds_per_step(zoo: Zoo, faces: FaceBatch, config: PerturbationConfig) -> float:
    """Measured on this machine: two plain steps, after one to warm up."""
    faces = faces[: min(len(faces), 2 * config.batch)]
    loop = perturb(zoo, faces, make_rule("uniform"), replace(config, steps=3))
    next(loop)
    started = time.perf_counter()
    done = len(list(islice(loop, 2)))
    return (time.perf_counter() - started) / done


def results_path(data: str) -> Path:
    """Where the numbers measured on a data set are kept in the package."""
    return ASSETS / "results" / f"methods-{data}.csv"


def save_results(numbers: pd.DataFrame, path: Path, **provenance: Any) -> None:
    """Write the numbers, and above them what they were measured on, one `# key: value` a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"# {key}: {value}\n" for key, value in provenance.items())
    path.write_text(head + numbers.to_csv(index=False, float_format="%.6g"))


def load_results(path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Provenance and numbers that `save_results` wrote.

    Raises
    ------
    FileNotFoundError
        Not measured yet; the message says how.
    """
    if not path.exists():
        data = path.stem.removeprefix("methods-")
        raise FileNotFoundError(
            f"{path.name} is not there: measure it with "
            f"`python -m aef_core methods --data {data} --root PATH`"
        )
    lines = path.read_text().splitlines()
    head = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
    numbers = pd.read_csv(path, comment="#", keep_default_na=True)
    return dict(head), numbers.assign(model=numbers["model"].fillna(""))


def minutes(seconds: float) -> str:
    """A duration for people: "40 s", "7 min"."""
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"
