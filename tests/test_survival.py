"""Does the edit still work? Outcomes by hand, intervals, sentences, and stored tables."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator, evaluate
from aef_core.metrics.evaluation import evaluate_run
from aef_core.metrics.statistics import edit_survival
from aef_core.models import DeepfakeModel
from aef_core.models import judge as classifier
from aef_core.models.base import ATTRIBUTES, attribute_index, fingerprint
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.store import run_hash
from aef_core.runs import optimize
from companion.studies.main_table import survival_by_generator
from companion.studies.sentences import sentences
from companion.studies.study import compare, results_table

from .conftest import BrightnessJudge, make_faces, tiny_zoo

MALE = attribute_index("Male")


class Brightener(DeepfakeModel):
    """Makes men by adding 0.6 to a photo, women by taking it away."""

    name, image_size, edits = "Brightener", 32, ("Male",)

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.6), requires_grad=False)

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return (x + self.gain * (2 * c - 1).view(-1, 1, 1, 1),)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        return codes[0].clamp(-1, 1)

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        return self.target_attributes(attributes, edit)[:, MALE].float()


class Setter(Brightener):
    """Makes men, of men as well: an edit that never flips."""

    def target_attributes(self, attributes: Tensor, edit: str) -> Tensor:
        return super().target_attributes(torch.zeros_like(attributes), edit)


def flat(levels: list[float], male: list[int]) -> FaceBatch:
    images = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    attributes = torch.zeros(len(levels), len(ATTRIBUTES), dtype=torch.uint8)
    attributes[:, MALE] = torch.tensor(male)
    return FaceBatch(images, attributes, tuple(f"face {i}" for i in range(len(levels))))


@pytest.fixture
def _by_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that takes bright photos for men's, so that outcomes can be told by hand."""
    monkeypatch.setattr(classifier, "load_classifier", BrightnessJudge)


@pytest.mark.usefixtures("_by_brightness")
@pytest.mark.parametrize(
    ("shift", "outcome"), [(-0.04, "unaffected"), (-0.3, "changed"), (-0.7, "undone")]
)
def test_outcomes_by_hand(shift: float, outcome: str) -> None:
    levels, male = [-0.2, 0.3, -0.9, 0.9, 0.3], [0, 0, 0, 0, 1]
    zoo = {"Brightener": Brightener()}
    table = evaluate(zoo, flat(levels, male), torch.full((1, 3, 32, 32), shift))
    assert table["outcome"].tolist()[:4] == [outcome, "already there", "never seen", "empty mask"]
    assert table["survives"].tolist()[0] == (outcome != "undone")
    assert table["survives"][1:4].isna().all()
    # from man to woman: a darker photo is the more so
    assert table["outcome"].iloc[4] == ("unaffected" if shift == -0.04 else "changed")


@pytest.mark.usefixtures("_by_brightness")
def test_an_edit_that_sets_does_not_count_on_faces_that_show_it() -> None:
    table = evaluate({"Setter": Setter()}, flat([-0.2, -0.2], [0, 1]), torch.zeros(1, 3, 32, 32))
    assert table["outcome"].tolist() == ["unaffected", "already there"]


def pairs(edit: str, outcomes: dict[str, int], model: str = "StarGAN") -> pd.DataFrame:
    """A table with so many pairs of each outcome, a face each."""
    names = np.repeat(list(outcomes), list(outcomes.values()))
    survives = pd.Series(names).map({"unaffected": 1.0, "changed": 1.0, "undone": 0.0})
    rows = {"image": [f"face {i}" for i in range(len(names))], "model": model, "edit": edit}
    return pd.DataFrame(rows | {"outcome": names, "survives": survives}).assign(
        excluded=names == "empty mask"
    )


def test_survival_is_a_share_of_the_edits_that_work() -> None:
    counts = {"unaffected": 10, "changed": 20, "undone": 70, "never seen": 9, "already there": 3}
    table = pd.concat(
        [pairs("Young", counts | {"empty mask": 4}), pairs("Male", {"never seen": 5}, "HiSD")]
    )
    row = edit_survival(table).loc["StarGAN"]
    assert row["value"] == pytest.approx(0.3)
    # 100 independent pairs: a binomial's 95 % interval
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.3 * 0.7 / 100), rel=0.2)
    assert row[list(counts)].to_dict() == counts
    assert row["empty mask"] == 4
    silent = edit_survival(table, ("model", "edit")).loc["HiSD", "Male"]
    assert np.isnan(silent["value"])
    assert silent["never seen"] == 5
    levels = survival_by_generator(table)["value"]
    assert levels.to_dict() == pytest.approx({"StarGAN": 0.3, "max": 0.3})


def test_the_sentences_are_plain() -> None:
    table = pd.concat(
        [
            pairs("Black_Hair", {"unaffected": 5, "changed": 7, "undone": 88, "never seen": 20}),
            pairs("Male", {"undone": 2}),
            pairs("Young", {"unaffected": 1}),
            pairs("Bangs", {"never seen": 3}, "HiSD"),
        ]
    )
    assert sentences(table).tolist() == [
        "of 100 black-hair edits by StarGAN, 12 still work",
        "of 2 gender edits by StarGAN, none still work",
        "of 1 age edit by StarGAN, 1 still works",
        "no bangs edit by HiSD works, even without protection",
    ]


def test_a_table_stored_without_these_columns_is_made_again() -> None:
    zoo, test = tiny_zoo(), make_faces(3, seed=1)
    run = optimize(zoo, make_faces(), "aef", PerturbationConfig(steps=1, batch=4), progress=False)
    key = run_hash(
        {"zoo": {n: fingerprint(m) for n, m in zoo.items()}, "faces": test.fingerprint()}
    )
    (run.path / f"evaluation-{key}.csv").write_text("image,l2_mask\nold,1\n")
    judge = Evaluator(zoo, test)
    table = evaluate_run(run, judge)
    assert {"survives", "outcome"} <= set(table)
    again = evaluate_run(run, judge)
    pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-6)


@pytest.mark.usefixtures("_by_brightness")
def test_the_results_table_has_it() -> None:
    zoo, config = tiny_zoo(), PerturbationConfig(steps=1, batch=4)
    judge = Evaluator(zoo, make_faces(3, seed=1))
    methods = {"AEF": ("aef", {}), "random": ("random", {})}
    runs, table = compare(zoo, make_faces(), judge, methods, config)
    shares = table[~table["excluded"]].groupby("model")["survives"].mean()
    assert results_table(table, runs).loc["AEF", "edit survival"] == pytest.approx(shares.mean())
