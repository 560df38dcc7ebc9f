"""Nothing stored is trusted, and nothing finished is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch

from aef_core import atomic
from aef_core.config import REPOSITORY, home
from aef_core.errors import NotWritable
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.store import (
    DamagedRun,
    Run,
    load_run,
    load_state,
    save_run,
    save_state,
    sha256,
)
from aef_core.runs import find_run, optimize

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=4, step_size=0.01, batch=4)


class Stop(Exception):
    pass


def go(seed: int = 0, **options: object) -> Run:
    config = replace(CONFIG, seed=seed)
    zoo = {"StarGAN": tiny_zoo()["StarGAN"]}
    return optimize(zoo, make_faces(), "aef", config, progress=False, **options)


def stopped(seed: int = 0) -> Path:
    """The partial of a run that was stopped after its second step."""

    def on_step(state: State) -> None:
        if state.step == 3:
            raise Stop

    with pytest.raises(Stop):
        go(seed, checkpoint_every=2, on_step=on_step)
    (partial,) = home().glob("*.partial")
    return partial


def refuse(state: State) -> None:
    raise AssertionError("computed again")


def forge(folder: Path, delta: torch.Tensor) -> None:
    """Another delta, with the checksum that fits."""
    content = safetensors.torch.save({"delta": delta})
    (folder / "delta.safetensors").write_bytes(content)
    meta = json.loads((folder / "run.json").read_text())
    meta["sha256"]["delta.safetensors"] = sha256(content)
    (folder / "run.json").write_text(json.dumps(meta))


def test_a_renamed_folder_is_not_the_run_it_is_named_for() -> None:
    first, second = go(0).path, go(1).path
    shutil.rmtree(second)
    first.rename(second)
    with pytest.raises(DamagedRun, match=rf"{second.name}/run.json is of run {first.name}.*again"):
        go(1)
    with pytest.raises(DamagedRun, match=first.name):
        load_run(second)


def test_a_checksum_that_is_missing_is_missed() -> None:
    folder = go().path
    meta = json.loads((folder / "run.json").read_text())
    del meta["sha256"]["delta.safetensors"]
    (folder / "run.json").write_text(json.dumps(meta))
    with pytest.raises(DamagedRun, match=r"run.json is damaged.*again"):
        go()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0501, -0.06])
def test_a_delta_outside_its_budget_is_refused_whatever_its_checksum(value: float) -> None:
    run = go()
    delta = run.delta.clone()
    delta[0, 0, 0, 0] = value
    forge(run.path, delta)
    with pytest.raises(DamagedRun, match=r"delta.safetensors (is no finite|leaves the box)"):
        load_run(run.path)


def test_a_partial_of_another_seed_is_refused() -> None:
    partial = stopped(1)
    other = go(0).path
    shutil.rmtree(other)
    partial.rename(other.with_suffix(".partial"))
    with pytest.raises(DamagedRun, match=rf"{other.name}.partial.*it holds {partial.stem}"):
        go(0)


@pytest.mark.parametrize("place", [0.001, 0.3, 0.5, 0.7, 0.999])
def test_a_flipped_bit_in_a_partial_is_seen(place: float) -> None:
    partial = stopped()
    content = bytearray(partial.read_bytes())
    content[int(place * len(content))] ^= 1
    partial.write_bytes(content)
    with pytest.raises(DamagedRun, match=r"partial is damaged.*delete it"):
        go()


@pytest.mark.parametrize("step", [0, 5, -1])
def test_a_step_that_the_run_does_not_have_is_refused(step: int) -> None:
    partial = stopped()
    state, seconds = load_state(partial)
    state.step = step
    save_state(partial, state, seconds)
    with pytest.raises(DamagedRun, match=rf"step {step} of 4"):
        go()


def judge() -> Evaluator:
    return Evaluator({"StarGAN": tiny_zoo()["StarGAN"]}, make_faces(3, seed=1))


def kept_table(run: Run) -> Path:
    evaluate_run(run, judge())
    (path,) = run.path.glob("evaluation-*.csv")
    return path


def test_an_evaluation_found_again_is_the_one_that_was_made() -> None:
    run = go()
    first = evaluate_run(run, judge())
    pd.testing.assert_frame_equal(first, evaluate_run(run, judge()), check_exact=True)


def test_a_truncated_evaluation_is_refused() -> None:
    path = kept_table(run := go())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedRun, match=rf"{path.name} is damaged.*delete it"):
        evaluate_run(run, judge())


def test_an_evaluation_of_another_run_is_refused() -> None:
    first, second = go(0), go(1)
    path, foreign = kept_table(first), kept_table(second)
    assert path.name != foreign.name
    shutil.copy(foreign, path)
    with pytest.raises(DamagedRun, match=rf"{path.name} is damaged .it holds {foreign.stem}"):
        evaluate_run(first, judge())


def test_writers_of_one_state_never_share_a_name(tmp_path: Path) -> None:
    path, errors = tmp_path / "0123456789ab.partial", []
    state = State(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), step=1)

    def write() -> None:
        try:
            for _ in range(20):
                save_state(path, state, 1.0)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
    assert load_state(path)[0].step == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_second_writer_of_one_run_finds_the_first_ones() -> None:
    run = go()
    save_run(run.path, run)
    assert torch.equal(load_run(run.path).delta, run.delta)


@pytest.mark.parametrize("obstacle", ["file", "dangling link", "damaged folder"])
def test_a_failed_final_rename_loses_nothing(obstacle: str) -> None:
    straight = go(keep=False)
    folder = go().path
    shutil.rmtree(folder)

    def on_step(state: State) -> None:
        if state.step == 4 and obstacle == "file":
            folder.write_text("in the way")
        elif state.step == 4 and obstacle == "dangling link":
            folder.symlink_to("nowhere")
        elif state.step == 4:
            folder.mkdir()
            (folder / "run.json").write_text("{}")

    with pytest.raises(NotWritable, match=rf"{folder.name}.partial keeps what was computed"):
        go(on_step=on_step)
    with pytest.raises(DamagedRun, match=folder.name):
        go()
    shutil.rmtree(folder) if obstacle == "damaged folder" else folder.unlink()
    assert torch.equal(go(on_step=refuse).delta, straight.delta)
    assert [p.name for p in home().iterdir()] == [folder.name]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    path = tmp_path / "0123456789ab.partial"
    for link in (path.with_suffix(".tmp"), path):
        link.symlink_to(treasure)
    save_state(path, State(torch.zeros(1), torch.zeros(1), step=1), 1.0)
    assert treasure.read_text() == "gold"
    assert not path.is_symlink()


KILLED = """
import os, signal, sys
from aef_core import atomic
from tests.test_store import go
real, left = os.replace, [int(sys.argv[1])]
def replace(*places):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*places)
os.replace = replace
go(checkpoint_every=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("rename", [2, 3])
def test_killed_in_the_final_save_it_goes_on_and_cleans_up(rename: int) -> None:
    """The second rename keeps the last state, the third is the finished folder's."""
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(rename)], cwd=REPOSITORY, env=env,
                          check=False, timeout=280)  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert list(home().glob(f"{atomic.PREFIX}*")), "the test must leave something to clean"
    assert not list(home().glob("*/run.json"))
    again = {2: [3, 4], 3: []}[rename]
    for leak in home().glob(f"{atomic.PREFIX}*"):
        os.utime(leak, (0, 0))  # a day later
    seen = []
    run = go(on_step=lambda state: seen.append(state.step))
    assert seen == again
    assert torch.equal(run.delta, go(keep=False).delta)
    assert [p.name for p in home().iterdir()] == [run.path.name]


def test_what_a_live_writer_makes_is_not_removed(tmp_path: Path) -> None:
    with atomic.replacement(tmp_path / "file") as temporary:
        temporary.write_text("being written")
        atomic.remove_leaks(tmp_path)
        assert temporary.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_store_without_room_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritable, match=r"home cannot take a file \(No space left on device\)"):
        go(on_step=refuse)
    assert not list(home().iterdir())


def test_a_panel_finds_no_run_under_a_wrong_name() -> None:
    first, second = go(0), go(1)
    shutil.rmtree(second.path)
    shutil.copytree(first.path, second.path)
    with pytest.raises(DamagedRun):
        find_run(second.config)
