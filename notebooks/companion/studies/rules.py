"""All weighting rules on the generators, in one table, between the floor and the references.

One loss for all, the outputs that the judge looks at, so that rules differ in their weights alone.
Rules have their default settings; `max-min` is given the levels of the references.
"""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from aef_core.weighting import RULES
from companion.studies.differences import RANDOM
from companion.studies.judgement import paired, ranked, shares
from companion.studies.references import evaluate_each, levels_reached, single_model
from companion.studies.study import Lab, Runs, compare, model_means


def compare_rules(
    lab: Lab, seeds: Iterable[int] = (0,), rules: Iterable[str] = tuple(RULES)
) -> tuple[Runs, pd.DataFrame]:
    """Optimise with random signs, every rule and every seed, and each generator alone.

    Returns
    -------
    runs : dict of (rule, seed) to Run
    table : DataFrame
        As from `study.compare`, the single-model references among the methods.
    """
    lab = replace(lab, config=replace(lab.config, feature_weight=0.0, feature_steps=0))
    alone = single_model(lab.zoo, lab.train, lab.config)
    reference = evaluate_each(alone, lab.evaluator)
    methods = {name: (name, {}) for name in (RANDOM, *rules)}
    if "max-min" in methods:
        methods["max-min"] = ("max-min", {"single_model": levels_reached(alone)})
    runs, table = compare(lab.zoo, lab.train, lab.evaluator, methods, lab.config, seeds)
    return runs, pd.concat([reference, table], ignore_index=True)


def rules_view(table: pd.DataFrame, baseline: str = "uniform") -> pd.DataFrame:
    """The table to read: a row per rule, the best worst share first.

    Returns
    -------
    DataFrame indexed by method: mean L2_mask per generator, `worst share` of the single-model
    reference above the floor with its interval, `rank` by the worst generator (or "not above
    random"), `idle` generators, and the word for its min against the baseline's.
    """
    levels, parts = model_means(table).unstack(sort=False), shares(table)
    worst = parts["worst"].map("{:.3f}".format)
    pairs = zip(parts["low"], parts["high"], strict=True)
    ends = [f" [{low:.3f}, {high:.3f}]" for low, high in pairs]
    view = levels.round(5).loc[parts.index].assign(**{"worst share": worst + ends})
    view = view.join(ranked(table)[["rank", "idle"]])
    others = [m for m in view.index if m != baseline]
    words = {m: paired(table, m, [baseline]).loc[baseline, "min"].split("] ")[1] for m in others}
    view[f"against {baseline}"] = pd.Series(words).reindex(view.index).fillna("")
    return view.loc[parts["worst"].sort_values(ascending=False).index]
