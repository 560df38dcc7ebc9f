"""The main table: every method against every generator, under one protocol.

The same faces, edits, budget and judge for all; intervals as `metrics.statistics` says. Per-image
methods see the judged faces themselves, as in use, so they stand apart. Above all methods are the
single-model references, random signs are the floor. Runs and tables come from `companion.kept`.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from aef_core.atomic import write_text
from aef_core.errors import NotFound
from aef_core.metrics.statistics import ZERO_TO_ONE, bootstrap_means, interval
from companion.studies.differences import ABOVE_NOTHING, balance_draws, over_seeds
from companion.studies.judgement import OVER, SHARE, judgement, paired, ranked, shares, tidy
from companion.studies.study import Runs

__all__ = ["levels", "load_results", "paired", "ranked", "save_results", "shares", "summary",
           "view"]  # fmt: skip

MEASURES = {"l2_mask": "L2_mask", "interrupted": "SR_mask"}
BOUNDS = {"SR_mask": ZERO_TO_ONE}
AGAIN = "`python -m companion kept --judge FOLDER`"  # with the archives of CelebA and LFW in it


def summary(table: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """All numbers of the main table, long: method, measure, model, value, low, high.

    `model` is a generator, or min, mean, max or spread over generators, or empty. The rows of
    `judgement` follow: above the floor, shares, AEF's lead. The references' seconds are their sum.
    """
    rows = []
    for column, measure in MEASURES.items():
        draws = bootstrap_means(table, ["method", "model"], column)
        for method in table["method"].unique():
            levels = draws[method].dropna(axis=1, how="all")
            over = balance_draws(table, method, column)
            both = pd.concat([levels, over[["min", "mean", "spread"]]], axis=1)
            rows += tidy(method, measure, interval(both, BOUNDS.get(measure)))
    for method, part in table.groupby("method", sort=False):
        rows += tidy(method, "edit survival", survival_by_generator(part))
    photos = table.drop_duplicates(["method", "seed", "image", "model"]).assign(excluded=False)
    for measure in ("psnr", "ssim"):
        values = interval(bootstrap_means(photos, ["method"], measure))
        for method, row in values.iterrows():
            rows.append({"method": method, "measure": measure.upper(), "model": "", **row})
    for method in table["method"].unique():
        spent = over_seeds(list(_seconds(runs, method).values()))
        rows.append({"method": method, "measure": "seconds", "model": "", **spent})
    return pd.DataFrame(rows + judgement(table))


def survival_by_generator(table: pd.DataFrame) -> pd.DataFrame:
    """Edit survival per generator and, in the row `max`, of the worst protected one.

    Generators without a working edit are left out. Columns value, low, high.
    """
    working = table[table["survives"].notna()]
    if working.empty:
        return pd.DataFrame(columns=["value", "low", "high"], dtype=float)
    draws = bootstrap_means(working, ["model"], "survives")
    return interval(draws.assign(max=draws.max(axis=1)), ZERO_TO_ONE)


def _seconds(runs: Runs, method: str) -> dict[int, float]:
    """Seconds a seed: of one run, or of all generators' single-model runs together."""
    spent: dict[int, float] = {}
    for (label, seed), run in runs.items():
        if label.split(": ")[0] == method:
            spent[seed] = spent.get(seed, 0.0) + run.seconds
    return spent


def view(numbers: pd.DataFrame) -> pd.DataFrame:
    """The table to look at: a row per method, `min` and `spread` with their intervals.

    An L2_mask that is not clearly above random says so.
    """
    shown = numbers[numbers["measure"].isin([*MEASURES.values(), SHARE, "PSNR", "SSIM", "seconds"])]
    order = list(dict.fromkeys(shown["method"]))
    over = numbers[numbers["measure"] == OVER].set_index(["method", "model"])["low"]
    columns = {}
    for (measure, model), part in shown.groupby(["measure", "model"], sort=False):
        shape = "{:.4f}" if measure == "L2_mask" else "{:.3f}"  # the worst differ in the fourth
        cells = {}
        for row in part.itertuples():
            cells[row.method] = shape.format(row.value)
            if model in ("min", "spread"):
                cells[row.method] += f" [{shape.format(row.low)}, {shape.format(row.high)}]"
            if measure == "L2_mask" and over.get((row.method, model), 1) <= 0:
                cells[row.method] += f" {ABOVE_NOTHING}"
        columns[f"{measure} {model}".strip()] = pd.Series(cells).reindex(order).fillna("")
    return pd.DataFrame(columns)


def levels(numbers: pd.DataFrame, measure: str = "L2_mask") -> pd.DataFrame:
    """Values of one measure of `summary`: a row per method, a column per generator and balance."""
    rows = numbers[numbers["measure"] == measure]
    wide = rows.pivot(index="method", columns="model", values="value")
    return wide.loc[list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["model"]))]


def save_results(numbers: pd.DataFrame, path: Path, **provenance: Any) -> None:
    """Write the numbers, and above them what they were measured on, one `# key: value` a line."""
    head = "".join(f"# {key}: {value}\n" for key, value in provenance.items())
    write_text(path, head + numbers.to_csv(index=False, float_format="%.6g"))


def load_results(path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Provenance and numbers that `save_results` wrote.

    Raises
    ------
    FileNotFoundError
        Not measured yet; the message says how.
    """
    if not path.exists():
        raise NotFound(f"{path.name} is not there: {AGAIN}")
    lines = path.read_text().splitlines()
    head = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
    numbers = pd.read_csv(path, comment="#", keep_default_na=True)
    return dict(head), numbers.assign(model=numbers["model"].fillna(""))
