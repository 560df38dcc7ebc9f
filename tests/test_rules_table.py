"""Every weighting rule on the generators in one table, and the command that prints it."""

import pytest
from typer.testing import CliRunner

from aef_core.metrics import Evaluator
from aef_core.perturbation import PerturbationConfig
from aef_core.weighting import RULES
from companion.__main__ import app
from companion.config import get_profile
from companion.studies import study
from companion.studies.differences import RANDOM, REFERENCE
from companion.studies.rules import compare_rules, rules_view

from .conftest import make_faces, tiny_zoo


def test_all_rules_meet_on_the_generators_under_one_loss() -> None:
    zoo = {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}
    test = make_faces(4, seed=1)
    config = PerturbationConfig(steps=2, step_size=0.02, batch=4, feature_steps=1)
    lab = study.Lab(get_profile("smoke"), zoo, make_faces(), test, Evaluator(zoo, test), config)
    runs, table = compare_rules(lab)
    assert list(dict.fromkeys(table["method"])) == [REFERENCE, RANDOM, *RULES]
    assert {run.config["loop"]["feature_weight"] for run in runs.values()} == {0.0}
    assert len(runs["max-min", 0].config["settings"]["single_model"]) == 2
    view = rules_view(table)
    assert set(view.index) == {RANDOM, *RULES}
    assert {"StarGAN", "HiSD", "worst share", "rank", "idle", "against uniform"} == set(view)
    assert view.loc[RANDOM, "rank"] == "not above random"
    assert view.loc["uniform", "against uniform"] == ""


def test_the_command_names_an_unknown_rule() -> None:
    result = CliRunner().invoke(app, ["rules", "--profile", "smoke", "--only", "nash"])
    assert isinstance(result.exception, ValueError)
    assert "unknown weighting rule 'nash'; known: uniform" in str(result.exception)


@pytest.mark.parametrize("word", ["worst share", "StarGAN"])
def test_the_command_prints_the_table(word: str) -> None:
    command = ["rules", "--profile", "smoke", "--only", "aef"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert word in result.output
