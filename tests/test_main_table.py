"""The main table: what is run, what is computed from it, what is kept; and the sloppy protocols."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from aef_core.methods import make_method
from aef_core.metrics import Evaluator, evaluate, protect
from aef_core.perturbation import PerturbationConfig
from companion.cli.methods import choose
from companion.plots.methods import strength_and_balance
from companion.studies import main_table as mt
from companion.studies import protocol
from companion.studies.differences import REFERENCE
from companion.studies.planning import minutes, planned_steps, seconds_per_step
from companion.studies.study import Runs

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=2, step_size=0.02, batch=4)
ENTRIES = {
    "random": ("random", {}),
    "PGD": ("pgd", {}),
    "max-min (ours)": ("max-min", {}),
    "FGSM per image": ("fgsm", {"universal": False}),
}


def small_zoo() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, pd.DataFrame]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(tmp_path_factory.mktemp("home")))
        judge = Evaluator(small_zoo(), make_faces(4, seed=1))
        return mt.main_table(small_zoo(), make_faces(), judge, CONFIG, (0, 1), ENTRIES)


def test_every_method_and_seed_is_judged_and_the_references_come_first(made) -> None:
    runs, table = made
    assert list(table["method"].unique()) == [REFERENCE, *ENTRIES]
    assert set(runs) == {
        ("specialists: StarGAN", 0), ("specialists: HiSD", 0), ("random", 0), ("random", 1),
        ("PGD", 0), ("PGD", 1),
        ("max-min (ours)", 0), ("max-min (ours)", 1), ("FGSM per image", 0),
    }  # fmt: skip
    assert runs["FGSM per image", 0].delta.shape[0] == 4
    levels = runs["max-min (ours)", 0].config["settings"]["single_model"]
    alone = [runs[f"specialists: {name}", 0].history["output_mse"].iloc[-1] for name in small_zoo()]
    assert list(levels) == pytest.approx(alone)


def test_the_control_differs_from_aef_in_the_loss_only() -> None:
    control = dict(mt.ONE_LOSS)
    name, settings = control.pop("AEF, outputs alone")
    loops = [make_method(name, **s).loop(CONFIG, 8, small_zoo()) for s in (settings, {})]
    assert loops[0] == replace(loops[1], feature_weight=0.0)
    assert all(mt.ENTRIES[label] == entry for label, entry in control.items())


def test_the_faces_must_differ() -> None:
    judge = Evaluator(small_zoo(), make_faces()[2:4])
    with pytest.raises(ValueError, match="2 faces are in both sets"):
        mt.main_table(small_zoo(), make_faces(), judge, CONFIG, (0,), ENTRIES)


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
    assert seconds["value"] == pytest.approx(np.mean([runs["PGD", s].seconds for s in (0, 1)]))
    alone = numbers[(numbers["measure"] == "seconds") & (numbers["method"] == REFERENCE)].iloc[0]
    both = [runs[f"{REFERENCE}: {name}", 0].seconds for name in small_zoo()]
    assert alone["value"] == pytest.approx(sum(both)), "all references together, not one of them"
    plain = numbers[numbers["model"].isin(small_zoo()) & (numbers["measure"] != "share")]
    assert (plain["low"] <= plain["value"] + 1e-9).all()
    assert (plain["value"] <= plain["high"] + 1e-9).all()
    shown = mt.view(numbers)
    assert list(shown.index) == [REFERENCE, *ENTRIES]
    assert "[" in shown.loc["PGD", "L2_mask min"]
    assert shown.loc["random", "L2_mask HiSD"].endswith("not above random")
    assert not shown.loc[REFERENCE, "L2_mask StarGAN"].endswith("not above random")
    against = mt.paired(table, "PGD", ["max-min (ours)"])
    assert against.loc["max-min (ours)", "min"].split("] ")[1] in (
        "better", "worse", "no detectable effect", "not above random",
    )  # fmt: skip
    assert len(strength_and_balance(numbers).axes) == 2
    plt.close("all")
    mt.save_results(numbers, tmp_path / "methods-x.csv", judged_on="x test", steps=2)
    about, again = mt.load_results(tmp_path / "methods-x.csv")
    assert about == {"judged_on": "x test", "steps": "2"}
    pd.testing.assert_frame_equal(again, numbers.reset_index(drop=True), rtol=1e-4)


def test_numbers_not_measured_are_told_how_to(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m companion methods --data lfw"):
        mt.load_results(tmp_path / "methods-lfw.csv")


def test_the_plan_counts_steps_and_judging() -> None:
    judge = Evaluator(small_zoo(), make_faces(8, seed=1))
    plan = planned_steps(ENTRIES, CONFIG, 6, judge, seeds=3)
    judging = 8 * (5 + 5) / (3 * 2 * 4)
    assert plan["PGD"] == pytest.approx(3 * (2 + judging))
    assert plan["FGSM per image"] == pytest.approx(2 + judging)
    assert seconds_per_step(small_zoo(), make_faces(), CONFIG) > 0
    assert (minutes(30.2), minutes(91)) == ("31 s", "2 min")


def test_the_command_names_what_the_table_has_not() -> None:
    assert list(choose(["PGD"], ENTRIES)) == ["random", "PGD"]
    assert choose(None, ENTRIES) == ENTRIES
    with pytest.raises(ValueError, match="the table has no method 'pgd'; it has: random, PGD"):
        choose(["pgd"], ENTRIES)


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
