"""Comparisons: disjoint faces, paired differences, honest words."""

import pandas as pd
import pytest

from aef_core.metrics import Evaluator
from aef_core.models import judge as judge_module
from aef_core.perturbation import PerturbationConfig
from companion import plots
from companion.config import get_profile
from companion.studies import qualitative, study
from companion.studies.references import evaluate_each, single_model

from .conftest import BrightnessJudge, make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=3, step_size=0.02, batch=4, init=0.2)
METHODS = {"random": ("random", {}), "uniform": ("uniform", {}), "aef": ("aef", {"tau": 0.01})}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(judge_module, "load_classifier", BrightnessJudge)  # sees edits of noise
        judge = Evaluator(tiny_zoo(), make_faces(5, seed=1))
        runs, table = study.compare(tiny_zoo(), make_faces(), judge, METHODS, CONFIG, seeds=(0, 1))
        lab = study.Lab(get_profile("smoke"), judge.zoo, make_faces(), judge.faces, judge, CONFIG)
        alone = single_model(lab.zoo, lab.train, lab.config)
        return runs, table, evaluate_each(alone, lab.evaluator)


def test_every_method_seed_image_model_and_edit_is_judged(compared) -> None:
    runs, table, _ = compared
    assert set(runs) == {(m, s) for m in METHODS for s in (0, 1)}
    assert len(table) == 3 * 2 * 5 * (5 + 5 + 13 + 5)
    assert list(table.columns[:2]) == ["method", "seed"]


def test_optimising_and_evaluation_faces_must_differ() -> None:
    judge = Evaluator(tiny_zoo(), make_faces()[3:5])
    with pytest.raises(ValueError, match=r"2 faces are in both sets, e\.g\. f0-3"):
        study.compare(tiny_zoo(), make_faces(), judge, METHODS, CONFIG)


def test_intervals_hold_the_plain_means(compared) -> None:
    _, table, _ = compared
    means = study.model_means(table)
    for row in study.intervals(table).itertuples():
        assert row.value == pytest.approx(means[row.method, row.model])
        assert row.low <= row.value <= row.high


def test_a_difference_is_the_difference_of_the_balances(compared) -> None:
    _, table, reference = compared
    rows = study.method_balance(table)
    with pytest.raises(ValueError, match="no rows of random: run"):
        study.difference(table[table["method"] != "random"], "aef", "uniform")
    difference = study.difference(pd.concat([table, reference]), "aef", "uniform")
    expected = rows.loc["aef"] - rows.loc["uniform"]
    pd.testing.assert_series_equal(difference["value"], expected, check_names=False)


@pytest.mark.parametrize(
    ("numbers", "better", "words"),
    [
        ((0.1, -0.1, 0.2), "higher", "no detectable effect"),
        ((0.04, 0.03, 0.05), "higher", "no detectable effect"),
        ((0.1, 0.05, 0.2), "higher", "better"),
        ((0.1, 0.05, 0.2), "lower", "worse"),
        ((-0.1, -0.2, -0.05), "lower", "better"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side(numbers, better: str, words: str) -> None:
    row = pd.Series((*numbers, 0.05), index=["value", "low", "high", "smallest"])
    assert study.verdict(row, better) == words


def test_the_results_table_has_a_row_per_method(compared) -> None:
    runs, table, _ = compared
    view = study.results_table(table, runs)
    assert view.loc["random", "not above random"].split(", ") == list(tiny_zoo())
    assert list(view.index) == list(METHODS)
    assert {"StarGAN", "HiSD", "min", "spread", "cv", "min SR", "psnr", "residual"} <= set(view)
    assert view.notna().all().all()
    assert "HiSD" in study.keep_results(view, "smoke").read_text()


def test_figures_draw_what_they_are_given(compared, tmp_path) -> None:
    runs, table, _ = compared
    histories = {m: runs[m, 0].history for m in ("uniform", "aef")}
    means = study.intervals(table)
    fig = plots.interruption_bars(means)
    heights = sorted(bar.get_height() for bar in fig.axes[0].patches)
    assert heights == pytest.approx(sorted(means["value"]))
    fig = plots.dynamics(histories, "weight")
    assert [len(ax.lines) for ax in fig.axes] == [4, 4]
    cosines = {m: runs[m, 0].cosines for m in ("uniform", "aef")}
    assert len(plots.gradient_conflicts(cosines, list(tiny_zoo())).axes) == 3
    assert len(plots.weight_dynamics(histories["aef"]).axes) == 2
    path = plots.save_figure(fig, "test", means, profile="smoke")
    assert path.exists()
    assert '"profile": "smoke"' in path.with_suffix(".json").read_text()


def test_the_story_shows_four_pictures_a_generator(compared) -> None:
    runs, _, _ = compared
    told = study.story(tiny_zoo(), make_faces(2, seed=1), runs["aef", 0].delta, "Black_Hair")
    assert all(part.shape == (2, 3, 32, 32) for parts in told.values() for part in parts)
    fig = plots.before_after(told, {name: f"{name}?" for name in told})
    assert len(fig.axes) == 4 * 4
    assert [text.get_text() for ax in fig.axes[3::4] for text in ax.texts] == [
        f"{name}?" for name in told
    ]


def test_the_contrast_is_the_typical_face_on_which_the_judge_agrees() -> None:
    levels = {"a": (0.9, 0.010), "b": (0.2, 0.011), "c": (0.1, 0.012), "d": (0.3, 0.5)}
    undone = {"a": 0.0, "b": 1.0, "c": 0.0, "d": 0.0}  # on b the edit survives in spite of all
    rows = [
        {"model": model, "image": image, "edit": "Black_Hair", "excluded": False,
         "l2_mask": value, "survives": undone[image] if model == "StarGAN" else 1.0}
        for image, pair in levels.items()
        for model, value in zip(("StarGAN", "HiSD"), pair, strict=True)
    ]  # fmt: skip
    rows += [r | {"model": "AttGAN", "survives": 0.5, "l2_mask": 0.1} for r in rows[::2]]
    rows += [r | {"image": r["image"] + ", dark", "survives": float("nan")} for r in rows]
    face, survives = qualitative.contrast(pd.DataFrame(rows), "Black_Hair")
    assert face == "c"  # b is nearer to both medians (0.25, 0.0115), d far from HiSD's
    assert survives == {"StarGAN": False, "HiSD": True}
    assert list(survives) == ["StarGAN", "HiSD"]
    unseen = pd.DataFrame(rows).assign(survives=float("nan"))  # untrained generators: no verdicts
    assert len(qualitative.contrast(unseen, "Black_Hair")[1]) == 2
