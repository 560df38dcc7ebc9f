"""The fragility experiment: what it measures is known by hand, and it resumes where it stopped."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from aef_core.metrics import evaluate
from aef_core.models import ARCHITECTURES, AttGAN, DeepfakeModel
from aef_core.perturbation import PerturbationConfig
from companion.studies.arms import (
    against,
    checkpoints,
    effects,
    load_results,
    ratio_interval,
    summary,
)
from companion.studies.cycle import (
    edit_success,
    trained_smoothing,
    trained_spectra,
    trained_ways_back,
)
from companion.studies.hiding import (
    OCTAVES,
    Filtered,
    band_power,
    damage,
    low_pass,
    own_conditions,
    way_back,
)
from companion.training import fragility, fragility_measures
from companion.training.fragility import (
    Arm,
    CycledAttGANRecipe,
    Schedule,
    Start,
    arms,
    experiment,
    recipe_of,
    settings,
    shipped,
    unchanged_statistics,
)
from companion.training.fragility_measures import Judge, Table
from companion.training.recipes import AttGANRecipe, Phase, TrainingConfig
from companion.training.train_generator import build_recipe

from .conftest import make_faces

TINY = {
    "StarGAN": {"width": 4, "blocks": 1, "image_size": 32},
    "AttGAN": {"attributes": ("Black_Hair", "Male"), "width": 4, "layers": 3, "image_size": 32},
}


def tiny_start(name: str, iteration: int = 10) -> Start:
    torch.manual_seed(0)
    model = ARCHITECTURES[name](**TINY[name]).eval().requires_grad_(False)
    config = TrainingConfig(name, TINY[name], warmup=1, critic_width=4)
    return Start(model, config, iteration)


def wave(cycles: int, size: int = 32) -> torch.Tensor:
    """A vertical stripe pattern of so many periods, mean square 1/2."""
    x = torch.arange(size) / size
    return torch.cos(2 * math.pi * cycles * x).expand(1, 3, size, size).clone()


def test_low_pass_halves_the_power_at_its_cutoff() -> None:
    stripes = wave(8)  # 8 of 32 pixels: a quarter of a cycle per pixel
    assert low_pass(stripes, 0.25).square().mean().item() == pytest.approx(0.25, rel=1e-4)
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(low_pass(flat, 0.05), flat)
    assert low_pass(stripes, math.inf) is stripes


def test_band_power_finds_the_stripe_and_sums_to_the_mean_square() -> None:
    power = band_power(wave(5))  # 5 / 32, in the band [1/8, 1/4)
    assert power.argmax().item() == OCTAVES.index(1 / 8)
    assert power.sum().item() == pytest.approx(0.5, rel=1e-4)
    noise = torch.randn(3, 3, 32, 32)
    assert band_power(noise).sum().item() == pytest.approx(noise.square().mean().item(), rel=1e-3)


def test_damages_by_hand() -> None:
    x = torch.linspace(-1, 1, 12).view(1, 3, 2, 2)
    assert set(damage(x, "levels", 2).unique().tolist()) == {-1.0, 1.0}
    assert damage(x, "none", 0.0) is x
    assert torch.equal(damage(x, "noise", 0.1), damage(x, "noise", 0.1))
    with pytest.raises(ValueError, match="unknown damage 'ink'; known: none, noise"):
        damage(x, "ink", 1)


class Copier(DeepfakeModel):
    """Edits nothing, whatever is asked; so every damage passes through unchanged."""

    name, image_size, edits, attributes = "Copier", 32, ("Male",), ("Male",)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x,)

    def decode(
        self, codes: tuple[torch.Tensor, ...], x: torch.Tensor, c: torch.Tensor
    ) -> torch.Tensor:
        return codes[0]

    def conditions(self, attributes: torch.Tensor, edit: str) -> torch.Tensor:
        return attributes[:, :1].float()


def test_the_way_back_of_a_copier_costs_exactly_the_damage() -> None:
    faces = make_faces(3)
    table = way_back(Copier(), faces, {"none": (0.0,), "levels": (4,)})
    means = table.groupby(["damage", "of"])["error"].mean()
    assert means["none", "forgery"] == means["none", "photo"] == 0
    lost = (damage(faces.images, "levels", 4) - faces.images).abs().mean().item()
    assert means["levels", "forgery"] == pytest.approx(lost, rel=1e-5)
    assert means["levels", "photo"] == pytest.approx(lost, rel=1e-5)


def test_every_generator_finds_its_way_back(zoo: dict[str, DeepfakeModel]) -> None:
    faces = make_faces(5)
    for name, model in zoo.items():
        own = own_conditions(model, faces.images, faces.attributes)
        assert len(own) == 5
        table = way_back(model, faces)
        assert table["error"].notna().all(), name
        assert table["image"].nunique() == 5


def test_a_smoothing_forger_edits_the_smoothed_photo(zoo: dict[str, DeepfakeModel]) -> None:
    faces, model = make_faces(2), zoo["StarGAN"]
    c = model.conditions(faces.attributes, "Male")
    smooth = Filtered(model, 0.2)
    torch.testing.assert_close(smooth(faces.images, c), model(low_pass(faces.images, 0.2), c))
    assert smooth.state_dict()["cutoff"] == 0.2, "a run with another cutoff is another run"


def test_a_filter_that_filters_nothing_changes_no_success(zoo: dict[str, DeepfakeModel]) -> None:
    faces = make_faces(6)
    for name, model in zoo.items():
        idle = Filtered(model, float("inf"))
        assert edit_success(idle, faces) == edit_success(model, faces), name
        still = torch.zeros(1, 3, 32, 32)
        plain, filtered = (evaluate({name: m}, faces, still) for m in (model, idle))
        pd.testing.assert_frame_equal(filtered, plain)


def test_the_shipped_attgan_never_gets_a_cycle() -> None:
    """Only the experiment's recipe has the term, and only where the phase weighs it."""
    faces, model = make_faces(4), AttGAN(**TINY["AttGAN"])
    x, attributes = faces.images, faces.attributes
    assert type(build_recipe(model, 4)) is AttGANRecipe
    published, ours = build_recipe(model, 4), recipe_of(model, 4)
    assert isinstance(ours, CycledAttGANRecipe)
    published.phase = ours.phase = Phase(0, cycle=20.0)
    assert "cycle" not in published.generator_losses(x, attributes)
    assert ours.generator_losses(x, attributes)["cycle"] > 0
    ours.phase = Phase(0, cycle=0.0)
    assert "cycle" not in ours.generator_losses(x, attributes)


def test_the_way_back_leaves_running_statistics_alone() -> None:
    norm = nn.BatchNorm2d(3)
    with unchanged_statistics(norm):
        norm(torch.randn(4, 3, 8, 8) + 5)
    assert norm.running_mean.abs().max() == 0
    norm(torch.randn(4, 3, 8, 8) + 5)
    assert norm.running_mean.min() > 0.1


def test_arms_differ_in_cycle_and_identity_alone() -> None:
    for name in fragility.ORDER:
        start = shipped(name)
        assert start.iteration == start.config.iterations, "the zoo's file is the zoo's recipe"
        configs = [settings(start, 0, arm) for turn in arms(name) for arm in turn]
        bare = {c.phases[0]._replace(cycle=0, identity=0) for c in configs}
        assert len(bare) == 1
        assert len({c.phases[0] for c in configs}) == len(configs)
        assert len({c.seed for c in configs}) == 1
        assert settings(start, 1, arms(name)[0][0]).seed != configs[0].seed
        for arm in (arm for turn in arms(name) for arm in turn):
            assert (arm.cycle > 0) == arm.name.startswith(("cycle", "both"))
            if name != "AttGAN":  # whose published reconstruction is in every arm
                assert (arm.identity > 0) == (arm.name in ("identity", "both"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> tuple:
    """The experiment with tiny generators, eight faces and two steps."""
    monkeypatch.setattr(fragility, "BATCH", 4)
    monkeypatch.setattr(fragility_measures, "ATTACKED", 6)
    monkeypatch.setattr(fragility_measures, "WAYS_BACK", 4)
    monkeypatch.setattr(fragility_measures, "CUTOFFS", (0.25,))
    faces, test = make_faces(8), make_faces(8, seed=1)
    config = PerturbationConfig(steps=2, step_size=2.5e-3, batch=4, feature_weight=0.0)
    jobs = [
        (0, tiny_start("StarGAN"), (Arm("identity", 0, 10), Arm("cycle", 10, 0))),
        (0, tiny_start("AttGAN"), (Arm("cycle", 20, 0),)),
    ]
    return faces, Judge(faces, test, config), jobs, Schedule(iterations=2, every=1)


def test_the_experiment_resumes_and_repeats_itself(small: tuple, tmp_path: Path) -> None:
    faces, judge, jobs, plan = small
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    experiment(faces, judge, whole, tmp_path / "a", jobs, plan)

    class Stop(Exception):
        pass

    def impatient(table: Table, *block: object) -> None:
        add(table, *block)
        if table.rows["iteration"].nunique() > 1:
            raise Stop

    add = Table.add
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Table, "add", impatient)
        experiment(faces, judge, halves, tmp_path / "b", jobs, plan)
    experiment(faces, judge, halves, tmp_path / "b", jobs, plan)
    table = load_results(whole)
    pd.testing.assert_frame_equal(table, load_results(halves))

    assert set(table["iteration"]) == {10, 11, 12}
    assert set(table["arm"]) == {"start", "identity", "cycle"}
    last = table[table["iteration"] == 12]
    assert {"edit success", "specialist L2_mask", "specialist power"} <= set(last["measure"])
    experiment(faces, judge, whole, tmp_path / "a", jobs, plan)
    pd.testing.assert_frame_equal(load_results(whole), table)
    other = [(0, tiny_start("StarGAN", 20), jobs[0][2])]
    with pytest.raises(ValueError, match=r"holds starts of \[10\] iterations, not 20"):
        experiment(faces, judge, whole, tmp_path / "a", other, plan)


def test_the_kept_numbers_can_be_read_and_compared() -> None:
    table = load_results()
    rows = checkpoints(table)
    assert rows["success"].between(0, 1).all()
    assert (rows["l2_mask"] > 0).all()
    assert not rows.duplicated(["architecture", "seed", "arm", "iteration"]).any()
    for at in ("equal time", "equal success"):
        assert (summary(rows, at=at)["ratio"] > 0).all()
    assert trained_ways_back(table)["added"].notna().all()
    assert not trained_smoothing(table).empty
    assert trained_spectra(table).sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)


def kept(values: list[tuple]) -> pd.DataFrame:
    """A table as the experiment keeps it, of (seed, arm, iteration, success, l2_mask)."""
    rows = []
    for seed, arm, iteration, success, level in values:
        key = {"architecture": "StarGAN", "seed": seed, "arm": arm, "iteration": iteration}
        key["cycle"] = 10.0 * (arm == "cycle")
        for measure, value in (("edit success", success), ("specialist L2_mask", level)):
            rows.append({**key, "measure": measure, "setting": float("nan"), "value": value,
                         "low": value, "high": value})  # fmt: skip
    return pd.DataFrame(rows)


def test_arms_are_compared_at_equal_time_and_at_equal_success() -> None:
    table = kept(
        [(seed, "start", 4, 0.5, 0.001) for seed in (0, 1)]
        + [(seed, "identity", 6, 0.6, 0.002) for seed in (0, 1)]
        + [(seed, "identity", 8, 0.8, 0.004) for seed in (0, 1)]
        + [(0, "cycle", 8, 0.61, 0.008), (1, "cycle", 8, 0.52, 0.032)]
    )
    rows = checkpoints(table)
    time = against(rows).set_index("seed")
    assert time["ratio"].tolist() == pytest.approx([2, 8])
    success = against(rows, at="equal success").set_index("seed")
    assert success["other success"].tolist() == [0.6, 0.6], "the start is nobody's rival"
    assert success["ratio"].tolist() == pytest.approx([4, 16])
    late = kept([(0, "cycle", 10, 0.7, 0.064)])
    more = against(checkpoints(pd.concat([table, late]))).set_index("seed")
    assert more["l2_mask"].tolist() == [0.008, 0.032], "the last iteration that both have"
    assert effects(rows).index.tolist() == [("StarGAN", "cycle in place of identity")]
    row = summary(rows).loc[("StarGAN", "cycle")]
    assert row["ratio"] == pytest.approx(4), "geometric mean"
    assert row["low"] < 1 < row["ratio"] < row["high"], "two seeds prove little"
    with pytest.raises(ValueError, match="known: equal time, equal success"):
        against(rows, at="dawn")


def test_an_interval_over_seeds_is_student_s_and_one_seed_has_none() -> None:
    found = ratio_interval(pd.Series([1.0, 4.0]))
    assert found["ratio"] == pytest.approx(2)
    # logs 0 and 2 log 2: standard error log 2, quantile 12.706
    assert found["high"] == pytest.approx(2 * 2**12.7062, rel=1e-3)
    assert ratio_interval(pd.Series([3.0]))[["low", "high"]].isna().all()
