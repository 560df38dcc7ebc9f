"""What a single-model reference reaches, and that the max-min rule can be fed with it."""

import pandas as pd
import pytest
import torch

from aef_core.config import home
from aef_core.metrics import Evaluator, nonempty_mean
from aef_core.metrics.statistics import last_quarter, late_means
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize
from companion.studies.differences import REFERENCE
from companion.studies.references import (
    evaluate_each,
    levels_reached,
    outputs_alone,
    single_model,
)

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=8, step_size=0.01, batch=3)
TWO = {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


def test_a_reference_is_a_run_on_one_generator_and_its_level_the_last_quarter() -> None:
    faces = make_faces()
    alone = single_model(TWO, faces, CONFIG)
    assert [list(run.config["zoo"]) for run in alone.values()] == [["StarGAN"], ["HiSD"]]
    again = optimize({"HiSD": TWO["HiSD"]}, faces, "uniform", CONFIG, progress=False)
    assert len(list(home().glob("*/run.json"))) == 2, "the run was found, not made again"
    for column in ("output_mse", "strength"):
        expected = again.history[column].iloc[-2:].mean()
        assert levels_reached(alone, column)[1] == pytest.approx(expected)


def test_of_two_loops_a_generator_keeps_the_one_that_moved_it_further() -> None:
    faces, methods = make_faces(), ("mi-fgsm", "pgd")
    best = single_model(TWO, faces, CONFIG, methods)
    tried = [single_model(TWO, faces, CONFIG, (method,)) for method in methods]
    levels = [levels_reached(alone) for alone in tried]
    assert levels[0] != levels[1]
    assert levels_reached(best) == tuple(map(max, zip(*levels, strict=True)))


def test_each_reference_is_judged_on_its_own_generator() -> None:
    alone = single_model(TWO, make_faces(), CONFIG, keep=False)
    judge = Evaluator(TWO, make_faces(4, seed=1))
    table = evaluate_each(alone, judge)
    assert set(table["method"]) == {REFERENCE}
    for name, run in alone.items():
        rows = judge(run.delta)
        own = rows.loc[rows["model"] == name, "l2_mask"].to_numpy()
        judged = table.loc[table["model"] == name, "l2_mask"].to_numpy()
        assert judged == pytest.approx(own, nan_ok=True)


def test_outputs_alone_is_the_loss_of_mi_fgsm() -> None:
    from aef_core.methods import make_method

    assert make_method("mi-fgsm").loop(CONFIG, 6, TWO) == outputs_alone(CONFIG)


def test_max_min_runs_on_its_references_and_is_found_again() -> None:
    """A tuple survives the config of a stored run and its hash."""
    faces = make_faces()
    level = levels_reached(single_model(TWO, faces, CONFIG, keep=False))
    first = optimize(TWO, faces, "max-min", CONFIG, progress=False, single_model=level)
    again = optimize(TWO, faces, "max-min", CONFIG, progress=False, single_model=list(level))
    assert first.path == again.path
    assert torch.equal(first.delta, again.delta)
    assert len(list(home().glob("*/run.json"))) == 1


@pytest.mark.parametrize(("steps", "late"), [(1, [0]), (3, [2]), (8, [6, 7]), (9, [7, 8])])
def test_the_last_quarter_has_whole_steps_and_at_least_one(steps: int, late: list[int]) -> None:
    rows = [{"step": s, "model": m, "weight": s + k} for s in range(steps) for k, m in
            enumerate("AB")]  # fmt: skip
    history = pd.DataFrame(rows)
    assert last_quarter(history)["step"].unique().tolist() == late
    assert late_means(history)["weight"].tolist() == pytest.approx(
        [sum(late) / len(late), sum(late) / len(late) + 1]
    )


def test_empty_masks_do_not_count() -> None:
    nan = float("nan")
    table = pd.DataFrame({"model": ["B", "B", "A", "C"], "l2_mask": [1.0, nan, 3.0, nan],
                          "interrupted": [True, False, True, False],
                          "excluded": [False, True, False, True]})  # fmt: skip
    assert nonempty_mean(table, "model").to_dict() == {"B": 1.0, "A": 3.0}
    assert nonempty_mean(table, "model", "interrupted").to_dict() == {"B": 1.0, "A": 1.0}
