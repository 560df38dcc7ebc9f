"""Runs are found again, resumed to the same bits, and never half-read."""

import dataclasses
from pathlib import Path

import pytest
import torch

from aef_core.config import home
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.store import DamagedRun, load_run
from aef_core.runs import optimize

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=6, step_size=0.01, batch=4)


class Killed(BaseException):
    """As a killed process, no `Exception`: nothing is kept on its way out."""


def kill_at(step: int):
    def on_step(state: State) -> None:
        if state.step == step:
            raise Killed

    return on_step


def go(config: PerturbationConfig = CONFIG, method: str = "aef", **options: object):
    return optimize(tiny_zoo(), make_faces(), method, config, progress=False, **options)


def refuse(state: State) -> None:
    raise AssertionError("computed again")


def test_a_run_belongs_to_a_device_and_a_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither promises the bits of another; and no run of the first format is found again."""
    first = go()
    assert first.config["device"] == "cpu"
    assert first.config["torch"] == torch.__version__
    assert first.config["format"] == 3
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert go().path != first.path


def test_a_finished_run_is_found_and_equal() -> None:
    first = go(tau=0.01)
    again = go(tau=0.01, on_step=refuse)
    assert torch.equal(first.delta, again.delta)
    assert again.history.equals(first.history)
    assert (again.cosines == first.cosines).all()
    assert again.config == first.config
    assert [p.parent for p in home().glob("*/run.json")] == [first.path]


@pytest.mark.parametrize(
    "other",
    [
        lambda: go(tau=0.02),
        lambda: go(method="uniform"),
        lambda: go(dataclasses.replace(CONFIG, seed=1)),
        lambda: optimize(tiny_zoo(1), make_faces(), "aef", CONFIG, progress=False),
        lambda: optimize(tiny_zoo(), make_faces(seed=1), "aef", CONFIG, progress=False),
    ],
)
def test_anything_that_matters_makes_another_run(other) -> None:
    assert go().path != other().path


@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_killed_at_any_step_it_ends_with_the_same_bits(stop: int) -> None:
    straight = go(keep=False)
    with pytest.raises(Killed):
        go(checkpoint_every=2, on_step=kill_at(stop))
    assert not list(home().glob("*/run.json")), "a killed run must not look finished"
    resumed = go(checkpoint_every=2)
    assert torch.equal(resumed.delta, straight.delta)
    assert resumed.history.equals(straight.history)
    assert not list(home().glob("*.partial"))


def test_resuming_does_not_repeat_saved_steps() -> None:
    with pytest.raises(Killed):
        go(checkpoint_every=2, on_step=kill_at(5))
    seen = []
    go(checkpoint_every=2, on_step=lambda state: seen.append(state.step))
    assert seen == [5, 6]


def test_an_exception_from_on_step_keeps_the_state_it_saw() -> None:
    def stop(state: State) -> None:
        if state.step == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        go(checkpoint_every=20, on_step=stop)
    seen = []
    go(on_step=lambda state: seen.append(state.step))
    assert seen == [6]


def test_keep_false_leaves_no_trace() -> None:
    go(keep=False)
    assert not home().exists()


@pytest.mark.parametrize("file", ["delta.safetensors", "history.csv", "cosines.npy", "run.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_run_is_reported_never_half_read(file: str, damage: str) -> None:
    folder = go().path
    victim: Path = folder / file
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(DamagedRun, match=f"{folder.name}.*run again"):
        go()


def test_a_damaged_checkpoint_is_reported() -> None:
    with pytest.raises(Killed):
        go(checkpoint_every=2, on_step=kill_at(3))
    (partial,) = home().glob("*.partial")
    partial.write_bytes(b"not a checkpoint")
    with pytest.raises(DamagedRun, match=r"partial is damaged.*delete it"):
        go()


def test_bad_requests_leave_nothing_behind() -> None:
    with pytest.raises(ValueError, match="unknown method 'no-such-rule'"):
        go(method="no-such-rule")
    with pytest.raises(FileNotFoundError, match="no such run"):
        load_run(home() / "0123")
    with pytest.raises(ValueError, match=r"8 x 8 pixels.*load_faces\(..., size="):
        optimize(tiny_zoo(), make_faces(4, size=8))
    assert not home().exists()
