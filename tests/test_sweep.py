"""A sweep gives what a plain loop gives, wherever its tasks run."""

import pandas as pd
import pytest

from aef_core.metrics import Evaluator
from aef_core.perturbation import PerturbationConfig
from companion.studies.study import compare
from companion.studies.sweep import sweep, tasks

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=2, step_size=0.01, batch=4)
METHODS = {"averaging": ("uniform", {}), "AEF": ("aef", {"tau": 0.01})}


def test_every_combination_is_a_task_and_the_step_follows_the_bound() -> None:
    todo = tasks(METHODS, CONFIG, (0, 1), (0.05, 0.1))
    assert [(t.label, t.config.seed, t.config.eps) for t in todo[:3]] == [
        ("averaging", 0, 0.05), ("averaging", 0, 0.1), ("averaging", 1, 0.05)
    ]  # fmt: skip
    assert len(todo) == 8
    assert [t.config.step_size / t.config.eps for t in todo] == pytest.approx([0.2] * 8)


def test_a_sweep_equals_the_serial_study() -> None:
    zoo = {"AttGAN": tiny_zoo()["AttGAN"]}
    train, test = make_faces(4), make_faces(3, seed=1)
    table = sweep(zoo, train, test, METHODS, CONFIG, seeds=(0, 1), workers=2)
    _, serial = compare(zoo, train, Evaluator(zoo, test), METHODS, CONFIG, seeds=(0, 1))
    assert list(table.columns[:3]) == ["method", "seed", "eps"]
    # the serial study finds the evaluations in the store, where they are text
    pd.testing.assert_frame_equal(table.drop(columns="eps"), serial, check_dtype=False)


def test_a_sweep_refuses_faces_in_both_sets() -> None:
    with pytest.raises(ValueError, match="faces are in both sets"):
        sweep(tiny_zoo(), make_faces(), make_faces(), METHODS, CONFIG)
