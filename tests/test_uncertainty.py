"""The one interval, the floor, the shares above it and the words."""

import numpy as np
import pandas as pd
import pytest

from aef_core.metrics.statistics import ZERO_TO_ONE, bootstrap_means, interval
from companion.studies.differences import (
    ABOVE_NOTHING,
    NO_EFFECT,
    RANDOM,
    REFERENCE,
    above_random,
    difference,
    over_seeds,
    smallest_effects,
    verdict,
)
from companion.studies.judgement import judgement, ranked, shares

MODELS = ("easy", "hard")
LEVELS = {  # method to L2_mask of the two generators
    RANDOM: (0.001, 0.0010),
    REFERENCE: (0.101, 0.0110),
    "strong": (0.051, 0.0060),
    "faint": (0.051, 0.0062),  # hard 0.0002 above strong: a fiftieth of the reference
    "idle": (0.081, 0.0010),
}


def rows(levels: dict = LEVELS, seeds=(0, 1, 2), images: int = 30, noise: float = 1e-6):
    """A table as from `study.compare`: every image has its own level, seeds hardly differ."""
    rng = np.random.default_rng(0)
    own = rng.uniform(0.5, 1.5, size=images)
    own /= own.mean()
    return pd.DataFrame(
        {"method": m, "seed": s, "image": f"i{i}", "model": k, "excluded": False, "edit": "e",
         "l2_mask": x * own[i] + noise * rng.normal()}
        for m, values in levels.items()
        for s in (seeds if m != REFERENCE else seeds[:1])
        for k, x in zip(MODELS, values, strict=True)
        for i in range(images)
    )  # fmt: skip


def test_three_seeds_that_differ_are_covered_as_often_as_promised() -> None:
    """Percentiles of three resampled seeds hold the truth in about 75 of 100 cases."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        per_seed = rng.normal(0, 1, size=3)[:, None] + rng.normal(0, 1, size=25)[None]
        table = pd.DataFrame({
            "seed": np.repeat(range(3), 25), "image": np.tile(range(25), 3), "model": "m",
            "l2_mask": per_seed.ravel(), "excluded": False,
        })  # fmt: skip
        row = interval(bootstrap_means(table, ["model"], n=100)).loc["m"]
        held += row["low"] <= 0 <= row["high"]
    assert 185 <= held < 200


def test_without_images_it_is_student_over_seeds() -> None:
    row = over_seeds([1.0, 2.0, 4.0])
    half = 4.302653 * np.std([1, 2, 4], ddof=1) / np.sqrt(3)
    assert row["value"] == pytest.approx(7 / 3)
    assert row["high"] - row["value"] == pytest.approx(half, rel=1e-5)
    assert over_seeds([1.0])[["low", "high"]].isna().all()


def test_an_auc_stays_within_its_bounds_where_it_used_to_pass_one() -> None:
    aucs = [1.0, 0.99, 0.9]
    assert over_seeds(aucs)["high"] > 1
    row = over_seeds(aucs, ZERO_TO_ONE)
    assert row["value"] == pytest.approx(np.mean(aucs))
    assert 0 < row["low"] < row["value"] < row["high"] < 1
    for ends, same in (((0, 1), [1.0, 1.0, 1.0]), ((0, 1), [0.0, 0.0]), ((-1, 1), [1.0, 1.0])):
        assert over_seeds(same, ends).tolist() == [same[0]] * 3, "nothing varies at a bound"
    assert over_seeds([0.9], ZERO_TO_ONE)[["low", "high"]].isna().all()
    inside = [0.51, 0.5, 0.49]  # far from the bounds it is the plain interval
    assert over_seeds(inside, ZERO_TO_ONE).tolist() == pytest.approx(over_seeds(inside), abs=1e-3)
    # between -1 and 1 it is Fisher's z: atanh(r) +- reach / (1 - r^2)
    plain, z = over_seeds([0.9, 0.5]), over_seeds([0.9, 0.5], (-1, 1))
    reach = (plain["high"] - 0.7) / (1 - 0.7**2)
    assert z[["low", "high"]].tolist() == pytest.approx(
        np.tanh(np.arctanh(0.7) + reach * np.array([-1, 1]))
    )


def test_near_a_bound_the_truth_is_held_more_often_than_by_a_symmetric_interval() -> None:
    rng, held = np.random.default_rng(0), {None: 0, ZERO_TO_ONE: 0}
    truth = (1 / (1 + np.exp(-rng.normal(4, 1.5, 10**5)))).mean()
    for seeds in 1 / (1 + np.exp(-rng.normal(4, 1.5, (200, 3)))):
        for within in held:
            row = over_seeds(seeds, within)
            held[within] += row["low"] <= truth <= row["high"]
    assert held[None] < 165 < 172 <= held[ZERO_TO_ONE]


def test_the_floor_is_found_generator_by_generator() -> None:
    above = above_random(rows())["above"]
    assert above["strong"].all()
    assert above["idle"].to_dict() == {"easy": True, "hard": False}
    assert not above[RANDOM].any()
    with pytest.raises(ValueError, match="no rows of random"):
        above_random(rows({"strong": LEVELS["strong"]}))


def test_one_seed_is_compared_with_random_on_that_seed() -> None:
    above = above_random(rows())
    assert above.loc[REFERENCE, "above"].all()
    assert above.loc[(REFERENCE, "hard"), "value"] == pytest.approx(0.01, rel=1e-2)


def test_shares_start_at_the_floor() -> None:
    found = shares(rows())
    assert REFERENCE not in found.index
    assert found.loc["strong", ["easy", "hard", "worst"]].tolist() == pytest.approx(
        [0.5, 0.5, 0.5], abs=0.01
    )
    assert found.loc["idle", "hard"] == pytest.approx(0, abs=0.01)  # a bare ratio says 0.09
    assert found.loc[RANDOM, "worst"] == pytest.approx(0, abs=0.01)


def test_no_method_at_the_floor_has_a_rank() -> None:
    found = ranked(rows())
    assert found["rank"].to_dict() == {
        "faint": 1, "strong": 2, RANDOM: ABOVE_NOTHING, "idle": ABOVE_NOTHING
    }  # fmt: skip
    assert found.loc["idle", "idle"] == "hard"


def test_a_difference_must_be_worth_naming() -> None:
    table = rows()
    least = smallest_effects(table)
    assert least["min"] == pytest.approx(0.05 * 0.01, rel=1e-2)
    assert least["mean"] == pytest.approx(0.05 * 0.055, rel=1e-2)
    row = difference(table, "faint", "strong").loc["min"]
    assert row["low"] > 0, "off zero, and yet too small"
    assert verdict(row, "higher") == NO_EFFECT
    assert verdict(difference(table, "strong", "idle").loc["min"], "higher") == "better"
    assert verdict(difference(table, "idle", "strong").loc["min"], "higher") == ABOVE_NOTHING
    assert verdict(difference(table, "idle", "strong").loc["mean"], "higher") == "better"
    assert verdict(difference(table, RANDOM, "strong").loc["spread"], "lower") == ABOVE_NOTHING


def test_the_kept_rows_say_all_that_a_verdict_needs() -> None:
    levels = LEVELS | {"AEF": LEVELS["strong"]}
    kept = pd.DataFrame(judgement(rows(levels))).set_index(["measure", "method", "model"])
    assert kept.loc[("L2_mask over random", "idle", "min"), "low"] <= 0
    assert kept.loc[("AEF minus this", "idle", "min"), "value"] == pytest.approx(0.005, rel=1e-2)
    assert kept.loc[("smallest effect", REFERENCE, "min"), "value"] == pytest.approx(5e-4, rel=1e-2)
    assert kept.loc[("share", "strong", "min"), "value"] == pytest.approx(0.5, abs=0.01)
