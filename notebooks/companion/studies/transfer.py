"""Does the balance transfer? Perturbations judged on generators they were not made for.

Leave-one-generator-out within the zoo, and a further generator of another family. What random
signs of the same size do is the floor: what is not clearly above it has not transferred.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from aef_core.faces import FaceBatch
from aef_core.methods import PUBLISHED
from aef_core.metrics import Evaluator, balance, nonempty_mean
from aef_core.metrics.evaluation import evaluate_run
from aef_core.metrics.statistics import bootstrap_means, interval
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from aef_core.runs import optimize
from companion.studies.differences import RANDOM
from companion.studies.references import levels_reached
from companion.studies.study import refuse_overlap

Entry = tuple[str, dict[str, Any]]  # method and its settings

ENTRIES: dict[str, Entry] = {
    "averaging": ("mi-fgsm", {}),
    "grad-norm": ("grad-norm", {}),
    "CMUA": ("cmua", {}),
    "FOUND": ("found", {}),
    "DWT": ("dwt", {}),
    "TSDF": ("tsdf", {}),
    "AEF": ("aef", {}),
    "max-min (ours)": ("max-min", {}),
}
# left out in turn, by profile: what is compared, and plain steps of a method
FEW = ("averaging", "AEF", "max-min (ours)")
COMPARED = {"smoke": FEW[:2], "quick": FEW, "paper": tuple(ENTRIES)}
STEPS = {"smoke": 2, "quick": 12, "paper": 480}
INSIDE, OUTSIDE = "optimised on", "left out"


def optimize_entry(
    entry: Entry, zoo: Zoo, train: FaceBatch, config: PerturbationConfig, alone: Mapping[str, Run]
) -> Run:
    """One run of a method, or of a rule (on outputs alone, as the methods are); found if stored.

    `alone` holds the single-model references that `max-min` balances against.
    """
    name, settings = entry
    if name == "max-min":
        settings = {"single_model": levels_reached({k: alone[k] for k in zoo}), **settings}
    config = config if name in PUBLISHED else replace(config, feature_weight=0.0)
    return optimize(zoo, train, name, config, settings=settings)


def on_all(
    zoo: Zoo,
    train: FaceBatch,
    config: PerturbationConfig,
    alone: Mapping[str, Run],
    seeds: Iterable[int] = (0,),
    entries: Mapping[str, Entry] = ENTRIES,
) -> dict[tuple[str, int], Run]:
    """Every method with every seed on the whole zoo."""
    todo = [(label, seed) for label in entries for seed in seeds]
    return {
        (label, seed): optimize_entry(entries[label], zoo, train, replace(config, seed=seed), alone)
        for label, seed in tqdm(todo, desc="methods", unit="run", leave=False)
    }


def leave_one_out(
    evaluator: Evaluator,
    train: FaceBatch,
    config: PerturbationConfig,
    alone: Mapping[str, Run],
    whole: Mapping[tuple[str, int], Run],
    entries: Mapping[str, Entry],
) -> pd.DataFrame:
    """Optimise on all generators but one, judge on that one; for every method and generator.

    Parameters
    ----------
    evaluator : Evaluator
        The zoo and the unseen faces.
    alone : mapping of generator to Run
        The single-model references.
    whole : mapping of (label, seed) to Run
        Runs on the whole zoo, for comparison; those with the seed of `config` are taken.
    entries : mapping of label to (method, settings)

    Returns
    -------
    DataFrame
        Rows as from `Evaluator`, with columns method and role in front: "optimised on" for the
        runs on the whole zoo, "left out" for those that had not seen the row's generator.
    """
    refuse_overlap(train, evaluator.faces)
    zoo, tables = evaluator.zoo, []
    judges = {k: Evaluator({k: g}, evaluator.faces, evaluator.batch) for k, g in zoo.items()}
    for label in entries:
        known = evaluate_run(whole[label, config.seed], evaluator)
        tables.append(known.assign(method=label, role=INSIDE, seed=config.seed))
    folds = [(label, left) for left in zoo for label in entries]
    for label, left in tqdm(folds, desc="left out", unit="run", leave=False):
        three = {name: model for name, model in zoo.items() if name != left}
        run = optimize_entry(entries[label], three, train, config, alone)
        judged = evaluate_run(run, judges[left])
        tables.append(judged.assign(method=label, role=OUTSIDE, seed=config.seed))
    table = pd.concat(tables, ignore_index=True)
    return table[["method", "role", *(c for c in table if c not in ("method", "role"))]]


def shares_left(table: pd.DataFrame) -> pd.DataFrame:
    """How much of a method's interruption of a generator is left when it was left out.

    Paired on images; `table` holds the rows of `leave_one_out` and of random patterns (role "left
    out"). One row per method and generator: `inside` and `outside` (mean L2_mask), `low_out` and
    `high_out` (interval of outside), `above` (outside is clearly above random) and, above the
    floor, `share` = (outside - random) / (inside - random) with `low` and `high`; NaN where inside
    is not above it.
    """
    draws = bootstrap_means(table, ["method", "role", "model"])
    floor = draws[RANDOM][OUTSIDE]
    rows = []
    for method in _named(table):
        inside, outside = draws[method][INSIDE], draws[method][OUTSIDE]
        lift = inside - floor
        over = lift.loc[:, interval(lift)["low"] > 0].reindex(columns=inside.columns)
        share, level = interval((outside - floor) / over), interval(outside)
        above = interval(outside - floor)["low"] > 0
        rows += [
            {
                "method": method, "model": name, "inside": inside[name].iloc[0],
                "outside": level.loc[name, "value"], "low_out": level.loc[name, "low"],
                "high_out": level.loc[name, "high"], "share": share.loc[name, "value"],
                "low": share.loc[name, "low"], "high": share.loc[name, "high"],
                "above": bool(above[name]),
            }
            for name in inside.columns
        ]  # fmt: skip
    return pd.DataFrame(rows)


def balance_in_and_out(table: pd.DataFrame) -> pd.DataFrame:
    """Balance over generators when optimised on and when left out, with intervals.

    Parameters
    ----------
    table : DataFrame
        Rows of `leave_one_out` and of random patterns (role "left out").

    Returns
    -------
    DataFrame indexed by method and role: min, mean, spread (of L2_mask) and, above the floor,
    `worst / best`, each with `_low` and `_high`; `above`: every generator is clearly above random.
    """
    draws = bootstrap_means(table, ["method", "role", "model"])
    floor, rows = draws[RANDOM][OUTSIDE], {}
    for method, role in ((m, r) for m in _named(table) for r in (INSIDE, OUTSIDE)):
        levels = draws[method][role].dropna(axis=1, how="all")
        lift = levels - floor
        over = pd.DataFrame(balance(levels.to_numpy()), index=levels.index)
        over = over[["min", "mean", "spread"]]
        over["worst / best"] = lift.min(axis=1).clip(lower=0) / lift.max(axis=1)
        ends = interval(over)
        rows[method, role] = {
            **ends["value"],
            **ends["low"].add_suffix("_low"),
            **ends["high"].add_suffix("_high"),
            "above": bool((interval(lift)["low"] > 0).all()),
        }
    return pd.DataFrame(rows).T.rename_axis(["method", "role"])


def unseen_levels(runs: Mapping[tuple[str, int], Run], evaluator: Evaluator) -> pd.DataFrame:
    """Interruption of generators that no run has seen: method, model, value, low, high, SR_mask.

    `over_floor` is the paired difference to the random runs, `over_low` and `over_high` its
    interval.

    Parameters
    ----------
    runs : mapping of (label, seed) to Run
        "random" among the labels.
    evaluator : Evaluator
        Of the unseen generators.
    """
    parts = [
        evaluate_run(run, evaluator).assign(method=label, seed=seed)
        for (label, seed), run in runs.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    draws = bootstrap_means(table, ["method", "model"])
    success = nonempty_mean(table, ["method", "model"], "interrupted")
    rows = []
    for (method, name), row in interval(draws).iterrows():
        over = interval((draws[method] - draws[RANDOM])[[name]]).iloc[0]
        rows.append({"method": method, "model": name, **row, "SR_mask": success[method, name],
                     "over_floor": over["value"], "over_low": over["low"],
                     "over_high": over["high"]})  # fmt: skip
    return pd.DataFrame(rows)


def _named(table: pd.DataFrame) -> list[str]:
    return [m for m in dict.fromkeys(table["method"]) if m != RANDOM]


def clearly_above(levels: pd.DataFrame) -> list[str]:
    """Methods that interrupt an unseen generator clearly more than random signs do."""
    return list(levels.loc[levels["over_low"] > 0, "method"])
