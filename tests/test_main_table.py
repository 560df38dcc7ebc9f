"""The main table: what is computed from kept runs, what is stored; and the sloppy protocols."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from aef_core.metrics import Evaluator, evaluate, protect
from aef_core.models import judge as classifier
from aef_core.perturbation import PerturbationConfig
from companion import kept
from companion.config import get_profile
from companion.plots import methods as figures
from companion.studies import main_table as mt
from companion.studies import protocol
from companion.studies.differences import REFERENCE
from companion.studies.study import Lab, Runs

from .conftest import BrightnessJudge, make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=2, step_size=0.02, batch=4)
METHODS = ("random", "PGD", "max-min (ours)")
PER_IMAGE = "FGSM per image"


def small_zoo() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, pd.DataFrame]:
    zoo, folder = small_zoo(), tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(tmp_path_factory.mktemp("home")))
        # the embedded judge sees next to nothing in what random generators make
        patch.setattr(classifier, "load_classifier", BrightnessJudge)
        judge = Evaluator(zoo, make_faces(4, seed=1))
        runs = kept.make(zoo, make_faces(), 2, 2, labels=METHODS, folder=folder, progress=False)
        lab = Lab(get_profile("smoke"), zoo, make_faces(), judge.faces, judge, CONFIG)
        own, alone = kept.per_image(lab, "fgsm")
        return runs | own, pd.concat([kept.judged(runs, judge), alone], ignore_index=True)


def test_a_method_per_image_has_a_perturbation_for_each(made) -> None:
    runs, table = made
    assert list(table["method"].unique()) == [REFERENCE, *METHODS, PER_IMAGE]
    assert runs[PER_IMAGE, 0].delta.shape[0] == 4


def test_max_min_balances_against_what_the_references_reached(made) -> None:
    runs, _ = made
    levels = runs["max-min (ours)", 1].config["settings"]["single_model"]
    references = [runs[f"{REFERENCE}: {name}", 0] for name in small_zoo()]
    alone = [run.history["output_mse"].iloc[-1] for run in references]
    assert list(levels) == pytest.approx(alone, rel=1e-4)


def test_shares_are_levels_over_the_references(made) -> None:
    _, table = made
    rows = mt.shares(table)
    kept = table[~table["excluded"]]
    means = kept.groupby(["method", "model"])["l2_mask"].mean().unstack()
    for model in means:
        over = means[model] - means.loc["random", model]
        expected = over["PGD"] / over[REFERENCE] if over[REFERENCE] > 0 else np.nan
        assert rows.loc["PGD", model] == pytest.approx(expected, nan_ok=True)
    assert REFERENCE not in rows.index
    assert (rows["worst"] <= rows[list(means)].min(axis=1) + 1e-9).all()  # per seed, then averaged
    assert rows["worst"].notna().all()
    assert (rows["low"] <= rows["worst"]).all()
    assert (rows["worst"] <= rows["high"]).all()


def test_the_summary_holds_the_plain_numbers(made, tmp_path) -> None:
    runs, table = made
    numbers = mt.summary(table, runs)
    kept = table[(table["method"] == "PGD") & ~table["excluded"]]
    means = kept.groupby("model")["l2_mask"].mean()
    level = mt.levels(numbers)
    for name in small_zoo():
        assert level.loc["PGD", name] == pytest.approx(means[name])
    assert level.loc["PGD", "min"] == pytest.approx(means.min())
    assert level.loc["PGD", "spread"] == pytest.approx(means.max() - means.min())
    rates = kept.groupby("model")["interrupted"].mean()
    assert mt.levels(numbers, "SR_mask").loc["PGD", "mean"] == pytest.approx(rates.mean())
    survival = mt.levels(numbers, "edit survival").loc["PGD"]
    shares = kept.groupby("model")["survives"].mean()
    found = survival.reindex(shares.index)  # a generator whose edits never work is left out
    assert found.to_numpy() == pytest.approx(shares.to_numpy(), nan_ok=True)
    assert survival["max"] == pytest.approx(shares.max())
    seconds = numbers[(numbers["measure"] == "seconds") & (numbers["method"] == "PGD")].iloc[0]
    assert seconds["value"] == pytest.approx(runs["PGD", 0].seconds)
    alone = numbers[(numbers["measure"] == "seconds") & (numbers["method"] == REFERENCE)].iloc[0]
    both = [runs[f"{REFERENCE}: {name}", 0].seconds for name in small_zoo()]
    assert alone["value"] == pytest.approx(sum(both)), "all references together, not one of them"
    plain = numbers[numbers["model"].isin(small_zoo()) & (numbers["measure"] != "share")]
    assert (plain["low"] <= plain["value"] + 1e-9).all()
    assert (plain["value"] <= plain["high"] + 1e-9).all()
    shown = mt.view(numbers)
    assert list(shown.index) == [REFERENCE, *METHODS, PER_IMAGE]
    assert "[" in shown.loc["PGD", "L2_mask min"]
    assert shown.loc["random", "L2_mask HiSD"].endswith("not above random")
    assert not shown.loc[REFERENCE, "L2_mask StarGAN"].endswith("not above random")
    against = mt.paired(table, "PGD", ["max-min (ours)"])
    assert against.loc["max-min (ours)", "min"].split("] ")[1] in (
        "better", "worse", "no detectable effect", "not above random",
    )  # fmt: skip
    order = figures.ranking(numbers)
    assert set(order) == {*METHODS, PER_IMAGE} - {"random"}
    assert order[-1] == PER_IMAGE
    for fig in (figures.share_map(numbers), figures.intervals(numbers)):
        assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == order
    plt.close("all")
    mt.save_results(numbers, tmp_path / "methods-x.csv", judged_on="x test", steps=2)
    about, again = mt.load_results(tmp_path / "methods-x.csv")
    assert about == {"judged_on": "x test", "steps": "2"}
    pd.testing.assert_frame_equal(again, numbers.reset_index(drop=True), rtol=1e-4)


def test_numbers_not_measured_are_told_how_to(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m companion kept --judge FOLDER"):
        mt.load_results(tmp_path / "photographs.csv")


def test_sloppy_choices_change_what_they_say() -> None:
    zoo, train, test = small_zoo(), make_faces(), make_faces(3, seed=1)
    delta = 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    rows = protocol.contrast(zoo, train, test, delta)
    assert list(rows.index) == list(protocol.CHOICES)
    table = evaluate(zoo, test, delta)
    honest = table[~table["excluded"]].groupby("model")["l2_mask"].mean()
    assert rows.loc["honest", "L2_mask"] == pytest.approx(honest.mean())
    assert rows.loc["honest", "worst"] == pytest.approx(honest.min())
    assert rows.loc["honest", "change in %"] == 0
    assert rows.loc["empty masks as failures", "SR_mask"] <= rows.loc["honest", "SR_mask"]
    for choice in ("judged on the optimising faces", "no 8-bit rounding", "no clamp"):
        assert rows.loc[choice, "L2_mask"] != rows.loc["honest", "L2_mask"], choice


def test_the_peers_ssim_is_another_number() -> None:
    images = make_faces(3).images
    noise = 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    both = protocol.ssim_contrast(images, protect(images, noise))
    assert 0 < both["standard"] < 1
    assert both["standard"] != pytest.approx(both["peers'"], abs=1e-3)
    equal = protocol.ssim_contrast(images, images)
    assert equal.tolist() == pytest.approx([1, 1])
