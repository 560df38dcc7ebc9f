"""Kept perturbations: exact to half a code, refused where they do not belong, resumed alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from aef_core.errors import AEFError
from aef_core.faces import load_faces
from aef_core.methods import make_method
from aef_core.metrics import Evaluator, evaluate
from aef_core.models import judge as judge_module
from aef_core.perturbation.store import load_run
from companion import kept
from companion.config import get_profile
from companion.kept import published
from companion.kept.store import HISTORIES, PATTERNS, RECORDS, Kept, decode, encode
from companion.studies import main_table, study, temperature
from companion.studies.differences import REFERENCE

from .conftest import BrightnessJudge, make_faces, tiny_zoo

STEPS = 3  # of 480
LABELS = ("random", "uniform", "AEF", "PGD", "max-min (ours)")


def small_zoo(seed: int = 0) -> dict:
    return {name: tiny_zoo(seed)[name] for name in ("StarGAN", "HiSD")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Path, Path]:
    folder, home = tmp_path_factory.mktemp("kept"), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(home))
        made = kept.make(small_zoo(), make_faces(), STEPS, 2, labels=LABELS, folder=folder)
    return made, folder, home


@pytest.mark.parametrize("eps", [0.05, 0.013])
def test_codes_are_exact_to_half_a_level(eps: float) -> None:
    delta = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1) * eps
    delta[0, 0, 0, :2] = torch.tensor([eps, -eps])
    again = decode(encode(delta, eps), eps)
    assert again.shape == delta.shape
    error = (again - delta).abs().max().item()
    assert eps / 127 / 4 < error <= eps / 127 / 2 * (1 + 1e-4)
    assert again[0, 0, 0, :2].tolist() == pytest.approx([eps, -eps], rel=1e-6)


def test_what_is_kept_is_what_was_made(made) -> None:
    runs, _, home = made
    assert set(runs) == {
        (f"{REFERENCE}: StarGAN", 0), (f"{REFERENCE}: HiSD", 0), ("PGD", 0),
        *((label, seed) for label in LABELS if label != "PGD" for seed in (0, 1)),
    }  # fmt: skip
    stored = [load_run(path.parent) for path in home.glob("*/run.json")]
    assert len(stored) == len(runs) + 2, "of each generator the better of two loops"
    for run in runs.values():
        original = next(r for r in stored if r.config == run.config)
        half = run.config["loop"]["eps"] / 127 / 2
        assert (run.delta - original.delta).abs().max() <= half * (1 + 1e-4)
        pd.testing.assert_frame_equal(run.history, original.history, rtol=1e-4)
        assert run.cosines == pytest.approx(original.cosines.mean(0, keepdims=True), abs=1e-4)
        assert run.seconds == pytest.approx(original.seconds, abs=1e-3)
    record = runs["AEF", 1].record
    assert (record["seed"], record["steps"], record["feature steps"]) == (1, STEPS, 3)


def test_long_histories_are_thinned_and_keep_their_end() -> None:
    rows = [{"step": step, "model": m} for step in range(480) for m in "ab"]
    rows += [{"step": step, "model": "MTCNN"} for step in range(480, 530)]
    kept_rows = kept.store.thinned(pd.DataFrame(rows))
    assert 48 <= kept_rows["step"].nunique() <= 60
    assert kept_rows.groupby("model")["step"].max().to_dict() == {"a": 479, "b": 479, "MTCNN": 529}


def test_other_weights_other_faces_and_damage_are_refused(made, tmp_path: Path) -> None:
    _, folder, _ = made
    zoo, faces = small_zoo(), make_faces()
    refused = [
        (small_zoo(1), faces, "made against other weights of StarGAN, HiSD"),
        ({"HiSD": zoo["HiSD"]}, faces, "made against StarGAN, HiSD, not against HiSD"),
        (zoo, make_faces(seed=5), "made on other faces"),
    ]
    for generators, batch, words in refused:
        with pytest.raises(ValueError, match=words) as told:
            kept.load(generators, batch, folder)
        assert "kept --make" in str(told.value)
    with pytest.raises(FileNotFoundError, match="keeps no perturbations: make them"):
        kept.load(zoo, faces, tmp_path)
    for name in (PATTERNS, HISTORIES, RECORDS):
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        if name != RECORDS:
            with pytest.raises(AEFError, match=f"{name} is damaged"):
                kept.load(zoo, faces, tmp_path)
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(AEFError, match=f"{name} is damaged"):
            kept.load(zoo, faces, tmp_path)
    (tmp_path / PATTERNS).unlink()
    with pytest.raises(AEFError, match="lacks one of its files"):
        kept.load(zoo, faces, tmp_path)


def test_a_make_that_was_stopped_ends_like_one_that_was_not(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, folder, _ = made
    monkeypatch.setenv("AEF_HOME", str(tmp_path / "home"))
    met = []

    def stop_once(state) -> None:
        met.append(state.step)
        if len(met) == 4:  # two single steps of random, then in the middle of averaging
            raise RuntimeError("stopped")

    asked = {"labels": LABELS, "folder": tmp_path / "kept", "on_step": stop_once}
    with pytest.raises(RuntimeError, match="stopped"):
        kept.make(small_zoo(), make_faces(), STEPS, 2, **asked)
    assert not (tmp_path / "kept").exists()
    again = kept.make(small_zoo(), make_faces(), STEPS, 2, **asked)
    steps = sum(r.config["loop"]["steps"] for k, r in straight.items() if REFERENCE not in k[0])
    assert len(met) == steps, "no step was made twice"
    for name in (PATTERNS, HISTORIES):
        assert (tmp_path / "kept" / name).read_bytes() == (folder / name).read_bytes()
    assert [r.config for r in again.values()] == [r.config for r in straight.values()]


def test_the_judged_table_is_that_of_the_kept_deltas(made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "load_classifier", BrightnessJudge)  # sees edits of noise
    runs, _, _ = made
    judge = Evaluator(small_zoo(), make_faces(4, seed=1))
    table = kept.judged(runs, judge)
    assert list(table["method"].unique()) == [REFERENCE, *LABELS]
    for label, seed in (("AEF", 1), ("PGD", 0)):
        rows = table[(table["method"] == label) & (table["seed"] == seed)]
        straight = evaluate(judge.zoo, judge.faces, runs[label, seed].delta)
        same = rows[["l2_mask", "psnr"]].to_numpy()
        assert same == pytest.approx(straight[["l2_mask", "psnr"]].to_numpy(), nan_ok=True)
    alone = table[table["method"] == REFERENCE]
    own = evaluate({"HiSD": judge.zoo["HiSD"]}, judge.faces, runs[f"{REFERENCE}: HiSD", 0].delta)
    found = alone[alone["model"] == "HiSD"]["l2_mask"].to_numpy()
    assert found == pytest.approx(own["l2_mask"].to_numpy(), nan_ok=True)
    pd.testing.assert_frame_equal(table, kept.judged(runs, judge))  # found again
    numbers = main_table.summary(table, runs)
    assert list(main_table.view(numbers).index) == [REFERENCE, *LABELS]
    rules = table[table["method"].isin(published.RULES)]
    assert study.results_table(rules, kept.chosen(runs, LABELS, False)).notna().all(axis=None)
    with pytest.raises(ValueError, match="are in both sets"):
        kept.judged(runs, Evaluator(small_zoo(), make_faces()[:2]))


def test_schedules_are_the_published_ones_or_an_honest_share() -> None:
    zoo = tiny_zoo()

    def loops(steps: int, n: int = 128) -> dict:
        every = published.jobs(zoo, n, steps, 1, (1.0,) * 4)
        made = {job.label: (make_method(job.method, **job.settings), job.config) for job in every}
        return {label: method.loop(config, n, zoo) for label, (method, config) in made.items()}

    full = loops(480)
    expected = {
        "AEF": (480, 3, 8), "uniform": (480, 3, 8), "grad-norm": (480, 3, 8),
        "TSDF": (530, 3, 8), "FOUND": (800, 5, 8), "CMUA": (2, 0, 64), "PGD": (480, 0, 8),
        "MI-FGSM": (480, 0, 8), "DWT": (480, 0, 8), "max-min (ours)": (480, 0, 8),
        "random": (1, 0, 8),
    }  # fmt: skip
    for label, numbers in expected.items():
        loop = full[label]
        assert (loop.steps, loop.feature_steps, loop.batch) == numbers, label
    assert {loop.step_size for label, loop in full.items() if label != "CMUA"} == {1e-3}
    assert full["uniform"] == full["AEF"] == full["grad-norm"], "they differ in weights alone"
    short = loops(120)
    assert (short["AEF"].steps, short["FOUND"].steps, short["CMUA"].steps) == (120, 200, 2)
    assert short["AEF"].step_size == pytest.approx(2e-3)
    with pytest.raises(ValueError, match=r"steps must lie in 1 \.\. 480"):
        kept.make(zoo, make_faces(), 481)


def test_the_schedule_is_told(made) -> None:
    runs, _, _ = made
    assert runs["AEF", 1].scheduled == STEPS
    words = kept.schedule_words(runs)
    assert words.startswith("11 kept runs, schedules reduced to 3 of 480 steps, 6 optimising faces")
    table = kept.listing(runs)
    assert table.loc["AEF", ["seeds", "steps", "feature steps"]].tolist() == [2, STEPS, 3]
    zoo, faces = small_zoo(), make_faces()
    lab = study.Lab(get_profile("smoke"), zoo, faces, faces[:4], Evaluator(zoo, faces[:4]), None)
    strip = kept.strip(runs, lab, minutes=7)
    assert strip.index.tolist() == ["AEF"]
    told = ["smoke", "32 pixels", 6, 4, "3 of 480", 0.1, "0, 1", 7]
    assert strip.iloc[0].tolist() == told


def line(slope: float) -> pd.DataFrame:
    steps = np.arange(0, 480, 10)
    level = 0.1 + slope * steps
    return pd.DataFrame({"seed": 0, "step": steps, "worst": level, "mean": 2 * level})


def test_a_run_has_settled_when_a_fifth_of_it_changes_nothing(made) -> None:
    both = pd.concat([line(0).assign(label="flat"), line(1e-4).assign(label="rising")])
    found = kept.settled(both)
    assert found["settled"].to_dict() == {"flat": True, "rising": False}
    rise = 1e-4 * 96 / (0.1 + 1e-4 * (480 - 1.5 * 96))
    assert found.loc["rising", "worst"] == pytest.approx(rise, rel=0.1)
    runs, _, _ = made
    lines = kept.curves(runs)
    assert set(lines["label"]) == set(LABELS) - {"random"}
    assert (lines["worst"] <= lines["mean"]).all()


def test_ranks_that_differ_are_said() -> None:
    def table(**levels: tuple[float, float]) -> pd.DataFrame:
        return pd.DataFrame([
            {"method": m, "model": g, "l2_mask": v, "excluded": False, "image": "a", "seed": 0}
            for m, values in levels.items() for g, v in zip("ab", values, strict=True)
        ])  # fmt: skip

    one = table(AEF=(0.2, 0.3), PGD=(0.1, 0.5))
    other = table(AEF=(0.2, 0.3), PGD=(0.25, 0.5), DWT=(0.0, 0.0))
    assert kept.disagreements(one, one) == ["short and kept runs rank AEF, PGD alike"]
    assert kept.disagreements(one, other) == [
        "worst generator: AEF is above PGD in the short run, below in the kept one"
    ]


def tiny_lab() -> study.Lab:
    """A smoke lab whose generators and faces are small."""
    zoo, faces = small_zoo(), make_faces()
    lab, judge = study.open_lab("smoke"), Evaluator(small_zoo(), faces[4:])
    return replace(lab, zoo=zoo, train=faces[:4], test=faces[4:], evaluator=judge)


@pytest.fixture(scope="module")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny set of `tiny_lab` has been made."""
    home = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(home))
        kept.at_hand(tiny_lab())
    return home


def test_tau_is_chosen_on_training_faces_that_no_run_has_seen(
    tiny_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tiny_home))
    lab, fresh = tiny_lab(), make_faces(4, seed=3)
    runs = kept.at_hand(lab)
    unseen = temperature.fresh_faces(runs, 5)
    assert unseen.names == load_faces("embedded", "train", n=7).names[2:]
    monkeypatch.setattr(temperature, "fresh_faces", lambda *_: fresh)
    worst = {}
    for tau, label in published.TAUS.items():
        table = evaluate(lab.zoo, fresh, runs[label, 0].delta)
        worst[tau] = table[~table["excluded"]].groupby("model")["l2_mask"].mean().min()
    assert temperature.choose_tau(lab) == max(worst, key=worst.get)
    table = kept.judged(kept.chosen(runs, list(published.TAUS.values())), lab.evaluator)
    rows = temperature.swept(runs, table, "tau", published.TAUS)
    assert rows["tau"].unique().tolist() == sorted(published.TAUS)
    assert (rows.groupby("tau")["weight"].sum() - 1).abs().max() < 1e-3


def test_a_live_run_is_the_same_schedule_at_the_profile_s_size() -> None:
    lab = tiny_lab()
    lab = replace(lab, profile=replace(lab.profile, steps=9))
    runs, table = kept.live(lab, ("uniform", "AEF"))
    loop = runs["AEF", 0].config["loop"]
    assert (loop["steps"], loop["feature_steps"]) == (3, 3)
    assert list(table["method"].unique()) == ["uniform", "AEF"]


def test_smoke_makes_a_tiny_set_once_and_other_profiles_load_the_shipped_one(
    tiny_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tiny_home))
    lab = tiny_lab()
    runs = kept.at_hand(lab)
    assert {label for label, _ in runs} >= set(published.SCHEDULES)
    before = sorted(path.name for path in kept.store.home().iterdir())
    assert kept.at_hand(lab).keys() == runs.keys()
    assert sorted(path.name for path in kept.store.home().iterdir()) == before
    (kept.store.home() / "kept" / HISTORIES).write_bytes(b"of an older format")
    assert kept.at_hand(lab).keys() == runs.keys()
    with pytest.raises(ValueError, match="made against"):
        kept.at_hand(replace(lab, profile=replace(lab.profile, name="quick")))
