"""The same rules elsewhere: one universal perturbation against an ensemble of classifiers.

The loop, the rules and the bootstrap are those of the generators; only what is maximised differs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from aef_core.faces import FaceBatch
from aef_core.metrics import protect
from aef_core.metrics.statistics import ZERO_TO_ONE, bootstrap_means, interval
from aef_core.models.base import columns
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Objective, References
from aef_core.perturbation.store import Run
from aef_core.runs import optimize
from aef_core.weighting import RULES
from companion.studies.differences import REFERENCE, SMALLEST_EFFECT
from companion.studies.ensemble import ATTRIBUTES
from companion.studies.equilibrium import maxmin_gap
from companion.studies.references import levels_reached, single_model
from companion.studies.study import refuse_overlap

Ensemble = Mapping[str, nn.Module]
TABLE = ("uniform", "grad-norm", "aef", "max-min", "mgda", "apgda", "stch", "exp-grad", "pcgrad",
         "cagrad", "upgrad")  # fmt: skip
"""Rules a printed table shows; the figures have all of `RULES`."""


@torch.no_grad()
def clean_decisions(
    ensemble: Ensemble, faces: FaceBatch, seed: int, batch: int
) -> dict[str, References]:
    """What each classifier says of the clean faces, as signs; no random draw is needed."""
    references = {}
    for name, model in ensemble.items():
        device = next(model.parameters()).device
        logits = torch.cat([model(x.to(device)) for x in faces.images.split(batch)])
        nothing = torch.zeros(len(faces), 1, device=device)
        references[name] = References(nothing, logits.sign(), nothing)
    return references


def doubt(
    model: nn.Module, x: Tensor, reference: References, rows: Tensor, feature_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Strength of a batch: the mean probability of another decision than on the clean face.

    Formula: S = mean sigmoid(-s z(x + d)), s the sign of the clean logit. In [0, 1], about 0 where
    nothing has changed, above 0.5 where most decisions have flipped. No feature term.
    """
    logits = model(x)
    wrong = torch.sigmoid(-reference.outputs[rows] * logits).mean()
    return wrong, wrong, wrong * 0


DOUBT = Objective("doubt", clean_decisions, doubt)


def attack(
    ensemble: Ensemble,
    faces: FaceBatch,
    rule: str,
    config: PerturbationConfig,
    **settings: Any,
) -> Run:
    """Optimise one perturbation for all faces and classifiers with a rule of `RULES`."""
    return optimize(ensemble, faces, rule, _plain(config), objective=DOUBT, settings=settings)


def _plain(config: PerturbationConfig) -> PerturbationConfig:
    return replace(config, feature_weight=0.0, feature_steps=0)


@torch.no_grad()
def flips(ensemble: Ensemble, faces: FaceBatch, delta: Tensor) -> pd.DataFrame:
    """Which decisions changed: one row per image, classifier and attribute.

    The protected image is rounded to 8 bits, as a saved file is.

    Returns
    -------
    DataFrame with columns image, model, edit (the attribute), flipped (0 or 1), right (the clean
    decision agrees with the face's label) and excluded (never).
    """
    protected = protect(faces.images, delta.cpu())
    labels = columns(faces.attributes, ATTRIBUTES).bool()
    blocks = []
    for name, model in ensemble.items():
        device = next(model.parameters()).device
        before, after = (model(x.to(device)).cpu() > 0 for x in (faces.images, protected))
        for a, attribute in enumerate(ATTRIBUTES):
            right = (before[:, a] == labels[:, a]).numpy()
            blocks.append(
                pd.DataFrame(
                    {
                        "image": list(faces.names),
                        "model": name,
                        "edit": attribute,
                        "flipped": (before[:, a] != after[:, a]).numpy().astype(float),
                        "right": right,
                        "excluded": False,
                    }
                )
            )
    return pd.concat(blocks, ignore_index=True)


def compare_rules(
    ensemble: Ensemble,
    train: FaceBatch,
    test: FaceBatch,
    config: PerturbationConfig,
    seeds: Iterable[int],
    rules: Iterable[str] = tuple(RULES),
) -> tuple[dict[tuple[str, int], Run], pd.DataFrame]:
    """Every rule with every seed, after the single-model references; judged on unseen faces.

    `max-min` gets what the references reach, every other rule its default settings.

    Returns
    -------
    runs : dict of (rule, seed) to Run; references under (`REFERENCE: NAME`, seed)
    table : DataFrame
        As from `flips`, with columns method and seed.
    """
    refuse_overlap(train, test)
    seeds, tables, runs = tuple(seeds), [], {}
    plain = _plain(replace(config, seed=seeds[0]))
    alone = single_model(ensemble, train, plain, objective=DOUBT)
    level = levels_reached(alone, "strength")
    for name, run in alone.items():
        runs[f"{REFERENCE}: {name}", seeds[0]] = run
        judged = flips({name: ensemble[name]}, test, run.delta)
        tables.append(judged.assign(method=REFERENCE, seed=seeds[0]))
    todo = [(rule, seed) for rule in rules for seed in seeds]
    for rule, seed in tqdm(todo, desc="rules", unit="run", leave=False):
        settings = {"single_model": level} if rule == "max-min" else {}
        run = attack(ensemble, train, rule, replace(config, seed=seed), **settings)
        runs[rule, seed] = run
        tables.append(flips(ensemble, test, run.delta).assign(method=rule, seed=seed))
    return runs, pd.concat(tables, ignore_index=True)


def success(table: pd.DataFrame) -> pd.DataFrame:
    """Share of decisions flipped per method and classifier, and over classifiers, long.

    Returns
    -------
    DataFrame with columns method, model (a classifier, or min, mean, spread), value, low, high.
    """
    draws = bootstrap_means(table, ["method", "model"], "flipped")
    rows = []
    for method in table["method"].unique():
        levels = draws[method].dropna(axis=1, how="all")
        low, high = levels.min(axis=1), levels.max(axis=1)
        over = levels.assign(min=low, mean=levels.mean(axis=1), spread=high - low)
        ends = interval(over, ZERO_TO_ONE)
        rows += [{"method": method, "model": m, **row} for m, row in ends.iterrows()]
    return pd.DataFrame(rows)


def against(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Every method's worst classifier minus the baseline's, paired on images and seeds.

    Returns
    -------
    DataFrame indexed by method: value, low, high and `smallest`, the share `SMALLEST_EFFECT` of
    what the reference of the hardest classifier flips; see `differences.verdict`.
    """
    draws = bootstrap_means(table, ["method", "model"], "flipped")
    worst = {m: draws[m].min(axis=1) for m in table["method"].unique() if m != REFERENCE}
    found = interval(pd.DataFrame({m: v - worst[baseline] for m, v in worst.items()}))
    alone = interval(draws[REFERENCE])["value"].min()
    return found.assign(smallest=SMALLEST_EFFECT * alone)


def equilibrium_gaps(
    runs: Mapping[tuple[str, int], Run], level: Iterable[float] | None = None
) -> pd.Series:
    """Relative gap from the max-min equilibrium per rule, mean over seeds (see `maxmin_gap`)."""
    gaps = pd.DataFrame(
        [
            {"method": m, "gap": maxmin_gap(run.history, level)["relative_gap"]}
            for (m, _), run in runs.items()
            if not m.startswith(REFERENCE)
        ]
    )
    return gaps.groupby("method", sort=False)["gap"].mean()
