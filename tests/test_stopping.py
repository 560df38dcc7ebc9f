"""A kept run ends once worst and mean are at rest, as a schedule of so many steps ends."""

from dataclasses import asdict

import pytest
import torch

from aef_core.jobs import Job
from aef_core.perturbation import PerturbationConfig, State
from aef_core.runs import find_run, optimize
from companion import kept
from companion.kept import stopping
from companion.kept.stopping import at_rest, until_rest
from companion.kept.store import ENDED

from .conftest import make_faces, tiny_zoo

LOOP = asdict(PerturbationConfig(steps=480))


def small_zoo() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


def state(worst: float, other: float, steps: int = 240) -> State:
    """A state whose two generators went up by such shares over the last hundred steps."""
    noise = torch.rand(steps, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.9
    rows = []
    for step in range(steps):
        late = step >= steps - 100
        for name, level, rise in (("a", 0.01, worst), ("b", 0.4, other)):
            value = level * noise[step % 100].item() * (1 + rise * late)
            rows.append({"step": step, "model": name, "output_mse": value})
    return State(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), steps, history=rows)


def identity(method: str = "aef", **loop: float) -> dict:
    return {"method": method, "settings": {}, "zoo": dict.fromkeys("ab"), "loop": LOOP | loop}


@pytest.mark.parametrize(
    ("worst", "other", "rests"),
    [(0.0, 0.0, True), (0.008, -0.008, True), (0.03, 0.0, False), (0.0, 0.03, False),
     (-0.03, 0.0, False)],
)  # fmt: skip
def test_worst_and_mean_must_both_have_come_to_rest(worst: float, other: float, rests) -> None:
    assert at_rest(state(worst, other), identity()) is rests


def test_a_run_is_looked_at_only_where_the_rule_applies() -> None:
    flat = state(0, 0)
    assert not at_rest(state(0, 0, 199), identity()), "less than two windows"
    assert not at_rest(state(0, 0, 250), identity()), "between two looks"
    assert not at_rest(flat, identity("cmua")), "one generator after the other"
    assert not at_rest(flat, identity(steps=241)), "it ends with the next step anyway"
    assert not at_rest(flat, identity(diversity=1.0)), "no step counts"
    second = State(flat.delta, flat.velocity, 240, history=flat.history, extra={"interruption": 0})
    assert not at_rest(second, identity("tsdf")), "in its second stage"


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends every run with its sixth step: whatever moved in the last four counts as rest."""
    monkeypatch.setattr(stopping, "WINDOW", 2)
    monkeypatch.setattr(stopping, "EVERY", 5)
    monkeypatch.setattr(stopping, "SETTLED", 1e9)


@pytest.mark.parametrize(
    ("method", "settings", "after"),
    [("dwt", {}, 0), ("tsdf", {"poison_steps": 1, "diversity": 0.0}, 1), ("aef", {}, 0)],
)
def test_what_comes_back_is_the_run_of_so_many_steps(early, method, settings, after) -> None:
    zoo, faces = small_zoo(), make_faces()
    cost = stopping.make_method(method, **settings).cost(zoo)
    job = Job(method, settings, PerturbationConfig(steps=round(20 * cost), step_size=5e-3, batch=3))
    run, why = until_rest(zoo, faces, job, progress=False)
    assert why.startswith("at rest after 6 steps")
    assert run.config["loop"]["steps"] == 6 + after
    short = PerturbationConfig(steps=round(6 * cost), step_size=5e-3, batch=3)
    straight = optimize(zoo, faces, method, short, settings=settings, keep=False, progress=False)
    assert torch.equal(run.delta, straight.delta)
    assert find_run(run.config)[0] is not None, "stored as a run like any other"


def test_a_run_that_was_killed_ends_where_it_would_have(early) -> None:
    zoo, faces = small_zoo(), make_faces()
    job = Job("aef", {"inner": 0}, PerturbationConfig(steps=20, step_size=5e-3, batch=3))
    met = []

    def killed_twice(state: State) -> None:
        met.append(state.step)
        if met in ([1, 2, 3], [1, 2, 3, 4, 5, 6]):
            raise RuntimeError("killed")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            until_rest(zoo, faces, job, progress=False, on_step=killed_twice)
    run, why = until_rest(zoo, faces, job, progress=False, on_step=killed_twice)
    assert met == [1, 2, 3, 4, 5, 6], "no step was made twice, and none beyond the last"
    assert why.startswith("at rest after 6 steps")
    again = until_rest(zoo, faces, job, progress=False, on_step=killed_twice)
    assert (again[0].path, again[1], len(met)) == (run.path, why, 6)


def test_a_kept_run_says_why_it_ended(early, tmp_path) -> None:
    labels = ("random", "PGD", "CMUA")
    runs = kept.make(small_zoo(), make_faces(), 8, 1, labels=labels, folder=tmp_path / "kept")
    found = {label: run.stop for (label, _), run in runs.items()}
    assert found.pop("PGD").startswith("at rest after 6 steps: worst and mean changed by < 1 %")
    assert set(found.values()) == {ENDED}, "neither the references nor CMUA"
    assert runs["PGD", 0].record["steps"] == 6
    assert kept.listing(runs).loc["PGD", "stop"] == runs["PGD", 0].stop
