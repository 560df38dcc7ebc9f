"""The benchmark measures what it says; the guard flags what got worse. No test asserts a time."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from aef_core.metrics import Evaluator
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.objective import Problem
from aef_core.weighting import make_rule
from companion.bench import costs, guard, precision
from companion.bench.floor import bare_steps
from companion.bench.growth import growth
from companion.bench.measure import paired, peak_memory, ratio, stepper
from companion.bench.published import Habits, published_steps
from companion.bench.race import race
from companion.bench.subjects import noise_faces, random_zoo
from companion.studies.study import Lab

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=4, step_size=0.01, batch=4)
NAMES = [
    f"{above} / {below}{label}"
    for label, (above, below) in itertools.product(guard.SCHEDULES, guard.PAIRS)
]


def few(*names: str) -> dict:
    zoo = tiny_zoo()
    return {name: zoo[name] for name in names}


def test_rounds_are_complete_and_the_order_turns() -> None:
    seen: list[str] = []
    contenders = {name: (lambda n=name: seen.append(n)) for name in "abc"}
    times = paired(contenders, repetitions=3, steps=2, warmup=0)
    assert "".join(seen) == "aabbcc" + "bbccaa" + "ccaabb"
    assert times.groupby("repetition").size().tolist() == [3, 3, 3]


def test_ratios_are_taken_within_a_round() -> None:
    times = pd.DataFrame(
        [(0, "a", 2.0), (0, "b", 1.0), (1, "a", 30.0), (1, "b", 10.0), (2, "a", 8.0), (2, "b", 2)],
        columns=["repetition", "name", "seconds"],
    )
    assert ratio(times, "a", "b").to_dict() == {"value": 3.0, "low": 2.0, "high": 4.0}


def test_peak_memory_counts_what_a_step_holds_at_most() -> None:
    def step() -> None:
        a = torch.zeros(1_000_000)  # 4 MB
        b = a + 1  # 8 MB now
        del a
        torch.zeros(500_000).add_(b[:500_000])  # 6 MB

    assert 8_000_000 <= peak_memory(step) <= 8_100_000


@pytest.mark.parametrize("feature_steps", [0, 1])
def test_the_published_loop_arrives_where_ours_does(feature_steps: int) -> None:
    config = PerturbationConfig(steps=4, step_size=0.01, batch=4, feature_steps=feature_steps)
    zoo, faces = few("AttGAN", "StarGAN"), make_faces()
    *_, ours = perturb(Problem(zoo, faces), make_rule("uniform"), config)
    *_, theirs = published_steps(zoo, faces, make_rule("uniform"), config)
    # the sum is rounded in another order: a sign may fall otherwise where a gradient is about zero
    assert (ours.delta != theirs).float().mean() < 0.01
    assert not any(p.requires_grad for m in zoo.values() for p in m.parameters())


def test_habits_change_the_cost_only() -> None:
    config = PerturbationConfig(steps=2, step_size=0.01, batch=4, feature_steps=1)
    zoo, faces = few("AttGAN", "HiSD"), make_faces()
    ends = [
        list(published_steps(zoo, faces, make_rule("aef"), config, habits))[-1]
        for habits in (Habits(), Habits(False, False, False, False))
    ]
    assert (ends[0] != ends[1]).float().mean() < 0.01


def test_the_floor_runs_as_many_steps_as_asked() -> None:
    config = PerturbationConfig(steps=2, batch=4, feature_steps=1)
    assert len(list(bare_steps(few("AttGAN"), make_faces(), config))) == 2


def test_ratios_of_a_tiny_zoo() -> None:
    zoo, faces = few("AttGAN"), make_faces()
    plain, scheduled = (race(zoo, faces, 4, 2, n) for n in guard.SCHEDULES.values())
    assert set(plain["name"]) == {"floor", "step", "fast step", "published"}
    table = guard.ratios(plain, scheduled)
    assert list(table.index) == NAMES
    assert table.notna().all(axis=None)


def test_the_published_loop_holds_all_generators_at_once_and_ours_one() -> None:
    peaks = guard.peaks(few("AttGAN", "StarGAN", "HiSD"), make_faces(), batch=4)
    assert peaks["published"] > 1.3 * peaks["step"]
    assert peaks["step"] < 1.3 * peaks["floor"]


def test_a_target_is_met_or_missed() -> None:
    assert guard.verdicts(measured(1.05, 3.0)) == ["step / floor: 1.05, target at most 1.10: met"]
    fast = measured(1.2, 3.0).rename(index={"published / step": "published / fast step"})
    assert [line.split()[-1] for line in guard.verdicts(fast)] == ["missed", "met"]


def test_costs_of_habits_and_rules_are_ratios() -> None:
    zoo, faces = few("AttGAN", "StarGAN"), make_faces()
    plain = race(zoo, faces, 4, 1, everything=True)
    assert plain["name"].is_unique, "no loop is timed twice in a round"
    habits = costs.breakdown(plain)
    assert list(habits.index) == [
        "as published", "clean outputs kept", "weights frozen", "all of these"
    ]  # fmt: skip
    assert "encoders in feature steps" in set(race(zoo, faces, 4, 1, 1, True)["name"])
    gains = precision.speedups(plain)
    assert list(gains.index) == list(precision.SETTINGS)
    assert gains.loc["float32 (default)", "value"] == habits.loc["as published", "value"]
    assert (pd.concat([habits, gains]) > 0).all(axis=None)


def test_a_rule_s_own_work_is_added_to_a_step_of_averaging(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list = []
    monkeypatch.setattr(costs, "make_rule", lambda name: lambda f: heard.append((name, f)))

    def fixed(contenders: dict, repetitions: int, device: torch.device) -> pd.DataFrame:
        seconds = {"step": 2.0, "uniform": 30.0, "aef": 60.0, "mgda": 90.0}
        for work in contenders.values():
            work()
        return pd.DataFrame([(0, n, seconds[n]) for n in contenders],
                            columns=["repetition", "name", "seconds"])  # fmt: skip

    monkeypatch.setattr(costs, "paired", fixed)
    zoo = few("AttGAN", "StarGAN")
    table = costs.rule_costs(zoo, make_faces(), ("uniform", "aef", "mgda"), 4, 1)
    calls = costs.HEARD * costs.CALLS
    assert table["value"].to_dict() == {"aef": 1 + 30 / calls / 2, "mgda": 1 + 60 / calls / 2}
    assert Counter(name for name, _ in heard) == dict.fromkeys(("uniform", "aef", "mgda"), calls)
    assert all(f.gramian.shape == (2, 2) for _, f in heard), "what the loop's rules see"


def test_the_fastest_way_is_measured_once_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tmp_path))
    zoo, faces = few("AttGAN"), make_faces()
    first = precision.fastest(zoo, faces, 2, repetitions=1)
    (kept,) = json.loads((tmp_path / "fastest.json").read_text()).values()
    assert precision.SETTINGS[kept] is first
    monkeypatch.setattr(precision, "paired", None)  # a second measurement would fail
    assert precision.fastest(zoo, faces, 2) is first
    with pytest.raises(TypeError):
        precision.fastest(zoo, faces, 3)  # another batch is another question


def test_the_result_of_half_the_bits_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tmp_path))
    zoo, train, test = few("AttGAN", "StarGAN"), make_faces(), make_faces(seed=1)
    lab = Lab(None, zoo, train, test, Evaluator(zoo, test), CONFIG)
    rows = precision.effect(lab, seeds=(0, 1))
    assert list(rows.index) == list(zoo)
    assert (rows["float32"] != rows["fast"]).all()  # other bits, so the setting did something
    assert ((rows["fast"] / rows["float32"] - 1).abs() < 0.2).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of its own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
def test_a_compiled_step_arrives_where_an_eager_one_does() -> None:
    zoo, faces = few("StarGAN"), make_faces()
    ends = []
    for models in (zoo, precision.compiled(zoo)):
        *_, last = perturb(Problem(models, faces), make_rule("aef"), CONFIG)
        ends.append(last.delta)
    assert (ends[0] != ends[1]).float().mean() < 0.01


def measured(step: float, published: float) -> pd.DataFrame:
    values = {"step / floor": step, "published / step": published}
    return pd.DataFrame({k: {"value": v, "low": v, "high": v} for k, v in values.items()}).T


def test_the_guard_flags_what_got_worse_in_either_direction(tmp_path: Path) -> None:
    kept = tmp_path / "baseline.json"
    guard.keep(measured(1.05, 3.0), {"threads": 1}, kept)
    assert guard.regressions(measured(1.05, 3.0), kept) == []
    assert guard.regressions(measured(0.5, 9.0), kept) == []
    unknown = measured(1.0, 3.0).rename(index={"step / floor": "fast step / floor"})
    assert "never kept" in guard.regressions(unknown, kept)[0]
    assert guard.regressions(measured(1.3, 3.0), kept) == ["step / floor was 1.05, is 1.30"]
    assert guard.regressions(measured(1.05, 2.0), kept) == ["published / step was 3.00, is 2.00"]


def test_without_a_kept_file_the_guard_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="bench --write"):
        guard.regressions(measured(1, 3), tmp_path / "none.json")


def test_the_kept_file_has_every_ratio_that_is_measured() -> None:
    measurable = pd.DataFrame({"value": 1.0}, index=NAMES)
    assert not [line for line in guard.regressions(measurable) if "never kept" in line]


def test_growth_names_every_point() -> None:
    base = {"generators": 1, "image size": 32, "batch": 2, "images": 4}
    table = growth({"batch": (1, 4), "images": (4,)}, base, repetitions=1)
    assert table[["axis", "value"]].to_numpy().tolist() == [
        ["batch", 1],
        ["batch", 4],
        ["images", 4],
    ]
    assert (table[["seconds", "step_mb", "clean_mb"]] > 0).all(axis=None)
    assert table["step_mb"].iloc[1] > 2 * table["step_mb"].iloc[0]


def test_more_than_four_generators_have_names_of_their_own() -> None:
    assert list(random_zoo("tiny", 6))[3:] == ["HiSD", "StarGAN 2", "AttentionGAN 2"]
    with pytest.raises(ValueError, match="unknown size 'huge'"):
        random_zoo("huge")
    assert noise_faces(2, 32).images.shape == (2, 3, 32, 32)


def test_a_stepper_advances_its_loop() -> None:
    step = stepper(iter([1, 2]))
    assert [step(), step()] == [1, 2]
