"""Two processes make the perturbation that one makes; a dead one leaves a run to go on with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aef_core.config import REPOSITORY, home
from aef_core.distributed import ALONE, LostPeer, Peers, joined, peers
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.runs import Run, optimize

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=6, step_size=0.01, batch=4)
WORKER = """
import os, sys, torch
from aef_core.distributed import joined
from tests.test_distributed import go

def die(state):
    if os.environ["RANK"] == "1" and state.step == int(sys.argv[2]):
        os._exit(7)

try:
    with joined():
        print("said once")
        torch.save(go(on_step=die).delta, f"{sys.argv[1]}/delta-{os.environ['RANK']}.pt")
except RuntimeError as error:
    sys.exit(f"error: {error}")
"""


def go(**options: object) -> Run:
    zoo = tiny_zoo()
    zoo = {name: zoo[name] for name in ("AttGAN", "HiSD")}
    # five faces in batches of four: every other batch holds one, and one process has no share
    return optimize(zoo, make_faces(5), "aef", CONFIG, progress=False, checkpoint_every=2,
                    tau=0.001, **options)  # fmt: skip


def launch(folder: Path, die_at: int = 99) -> subprocess.CompletedProcess:
    """The worker in two processes, as torchrun starts them, over the loopback interface."""
    worker = folder / "worker.py"
    worker.write_text(WORKER)
    env = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "AEF_DEVICE": "cpu",
    }
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *command, str(worker), str(folder), str(die_at)],
        env=env, capture_output=True, text=True, check=False, timeout=280, cwd=folder,
    )  # fmt: skip


def assert_equal_to_rounding(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Signs may fall otherwise where a gradient is about zero."""
    assert (ours != theirs).float().mean() < 0.02


@pytest.mark.parametrize("n", [0, 1, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch", [0, 1, 3])
def test_shares_cover_a_batch_once(n: int, size: int, micro_batch: int) -> None:
    parts = [p for rank in range(size) for p in Peers(rank, size).parts(n, micro_batch)]
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(n))
    assert all(p.stop - p.start <= (micro_batch or n) for p in parts)


def test_alone_nothing_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with joined() as alone:
        assert alone == peers() == ALONE
    value = torch.ones(2)
    ALONE.sum(value)
    assert value.tolist() == [1, 1]
    assert ALONE.agree(lambda: 3) == 3
    assert ALONE.any(True)
    assert not ALONE.any(False)


def test_a_lost_process_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(tensor: torch.Tensor) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection closed by peer\nmore")

    monkeypatch.setattr("torch.distributed.all_reduce", closed)
    with pytest.raises(LostPeer, match="start the same command again"):
        Peers(0, 2).sum(torch.ones(1))


def test_a_fault_of_ones_own_is_not_called_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(tensor: torch.Tensor) -> None:
        raise RuntimeError("tensors of different shapes")

    monkeypatch.setattr("torch.distributed.all_reduce", wrong)
    with pytest.raises(RuntimeError, match="different shapes") as caught:
        Peers(0, 2).sum(torch.ones(1))
    assert not isinstance(caught.value, LostPeer)


@pytest.mark.slow
def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    done = launch(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("said once") == 1
    first, second = (torch.load(tmp_path / f"delta-{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    (folder,) = home().iterdir()  # one run, written once
    alone = go(keep=False)
    assert_equal_to_rounding(first, alone.delta)
    stored = go()
    assert stored.path == folder, "the number of processes is no part of a run's identity"
    assert stored.history["strength"].to_numpy() == pytest.approx(
        alone.history["strength"].to_numpy(), rel=1e-2
    )


@pytest.mark.slow
def test_a_dead_process_stops_the_job_and_the_run_goes_on(tmp_path: Path) -> None:
    done = launch(tmp_path, die_at=5)
    assert done.returncode != 0
    assert "exitcode  : 7" in done.stderr
    assert not list(home().glob("*/run.json")), "an unfinished run must not look finished"
    assert len(list(home().glob("*.partial"))) == 1
    straight, seen = go(keep=False), []
    resumed = go(on_step=lambda state: seen.append(state.step))
    assert seen == [5, 6]
    assert_equal_to_rounding(resumed.delta, straight.delta)
