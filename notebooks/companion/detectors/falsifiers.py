"""What would falsify CS-DFD's claims here: one function each, from tables to a number and a word.

Each gives value, low, high and a verdict. "supported": the whole interval is on the claim's side of
zero, and the value worth naming; "falsified": the same on the other side; "open": neither, or there
is no interval (one seed). An AUC is the mean over all tests unless a function says so.
"""

from collections.abc import Iterable

import pandas as pd

from aef_core.errors import BadInput
from aef_core.metrics.statistics import DRAWS, bootstrap_means, interval
from companion.detectors.arms import STATIC, UVS
from companion.detectors.leave_one_out import left_out_draws
from companion.detectors.scores import TESTS, means, metric_draws, picked
from companion.studies.differences import SMALLEST_EFFECT, over_seeds

SINGLE = ("original only", "synthesised only")
SMALLEST_AUC = SMALLEST_EFFECT / 2  # worth naming: a twentieth of the way from chance to certainty


def verdict(ends: pd.Series, smallest: float = SMALLEST_AUC) -> pd.Series:
    """Value, low and high of a quantity that the claim wants above zero, with the word."""
    word = "open"
    if ends["low"] > 0 and ends["value"] >= smallest:
        word = "supported"
    elif ends["high"] < 0 and ends["value"] <= -smallest:
        word = "falsified"
    return pd.Series({**ends[["value", "low", "high"]], "verdict": word})


def auc_difference(
    scores: pd.DataFrame, first: str, second: str, tests: Iterable[str] = TESTS, n: int = DRAWS
) -> pd.Series:
    """Mean AUC of one arm minus another's, paired on people and seeds: value, low, high."""
    tests, scores = list(tests), only(scores, first, second)
    return paired(means(metric_draws(scores, tests, n=n), tests), first, second)


def only(scores: pd.DataFrame, *arms: str) -> pd.DataFrame:
    """A score table without the other arms, whose metrics would be resampled for nothing."""
    arm_of = {column: column.rpartition("|")[0] for column in scores if "|" in column}
    for arm in arms:
        if arm not in arm_of.values():
            held = ", ".join(dict.fromkeys(arm_of.values()))
            raise BadInput(f"the scores hold no arm {arm!r}; they hold {held}")
    return scores[[c for c in scores if arm_of.get(c, arms[0]) in arms]]


def paired(draws: pd.DataFrame, first: str, second: str) -> pd.Series:
    """Value, low, high of one column minus another of draws by arm."""
    return interval((draws[first] - draws[second]).to_frame("value")).iloc[0]


def joint_is_worse(scores: pd.DataFrame, n: int = DRAWS) -> pd.Series:
    """The claim "1 + 1 < 2": joint is worse than the better single arm, by validation."""
    better = picked(scores, SINGLE)
    found = auc_difference(scores, better, "joint", n=n)
    return verdict(found)


def joint_loses_at_home(scores: pd.DataFrame, n: int = DRAWS) -> dict[str, pd.Series]:
    """Stricter: on either kind's own test, joint training is worse than that kind alone."""
    homes = {"original": "original only", "synthesised": "synthesised only"}
    return {t: verdict(auc_difference(scores, arm, "joint", (t,), n)) for t, arm in homes.items()}


def conflict_above_null(probes: pd.DataFrame, n: int = DRAWS) -> pd.Series:
    """Gradients of the two kinds conflict (cosine < 0) more often than those of one kind.

    The null is the kind whose own batches conflict more often. Paired on training steps.
    """
    rates = conflict_draws(probes, n)
    within = rates[["within original", "within synthesised"]].max(axis=1)
    found = interval((rates["between"] - within).to_frame("value")).iloc[0]
    return verdict(found, SMALLEST_EFFECT)


def conflict_draws(probes: pd.DataFrame, n: int = DRAWS) -> pd.DataFrame:
    """Conflict rates as of `bootstrap_means`: rows (draw, seed), columns the pairs compared."""
    table = probes.assign(conflict=probes["cosine"] < 0, image=probes["step"], excluded=False)
    return bootstrap_means(table, ["pair"], "conflict", n)


def uvs_beats_static(scores: pd.DataFrame, n: int = DRAWS) -> pd.Series:
    """UVS beats the best static weight, both picked on the validation set, at equal length."""
    return verdict(auc_difference(scores, picked(scores, UVS), picked(scores, STATIC), n=n))


def descent_aligns(gradients: pd.DataFrame) -> pd.Series:
    """The Conflict Descent Loss raises the cosine of the two gradients, mean over training."""
    mean = gradients.groupby(["arm", "seed"])["cosine"].mean().unstack("arm")
    return verdict(over_seeds(mean["conflict descent"] - mean["joint"]), SMALLEST_EFFECT)


def descent_generalises(scores: pd.DataFrame, n: int = DRAWS) -> pd.Series:
    """... and with it the AUC on manipulations never trained on."""
    found = auc_difference(scores, "conflict descent", "joint", ("VAE", "cross blend"), n)
    return verdict(found)


def conflict_hurts(scores: pd.DataFrame, n: int = DRAWS) -> pd.Series:
    """The control: a negative weight of the same loss lowers the AUC."""
    return verdict(auc_difference(scores, "joint", "conflict sought", n=n))


def unseen_generators(left_out: pd.DataFrame, arm: str, n: int = DRAWS) -> pd.Series:
    """Trained without a generator, the arm tells it from reals better than joint training.

    Mean AUC over the generators, each left out in turn (`leave_one_out`).
    """
    draws = left_out_draws(only(left_out, arm, "joint"), n=n)
    return verdict(paired(means(draws, draws.columns.unique("test")), arm, "joint"))


def all_verdicts(
    scores: pd.DataFrame, gradients: pd.DataFrame, probes: pd.DataFrame, n: int = DRAWS
) -> pd.DataFrame:
    """Every claim with value (of AUC unless it says so), low, high and verdict."""
    home = joint_loses_at_home(scores, n)
    found = {
        "joint is worse than the better single arm": joint_is_worse(scores, n),
        "joint is worse on original fakes than they alone": home["original"],
        "joint is worse on synthesised fakes than they alone": home["synthesised"],
        "the kinds conflict more than one with itself (rate)": conflict_above_null(probes, n),
        "UVS beats the best static weight": uvs_beats_static(scores, n),
        "conflict descent raises the cosine (cosine)": descent_aligns(gradients),
        "conflict descent generalises better (unseen)": descent_generalises(scores, n),
        "seeking conflict hurts": conflict_hurts(scores, n),
    }
    return pd.DataFrame(found).T.rename_axis("claim")
