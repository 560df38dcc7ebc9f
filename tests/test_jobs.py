"""Many runs give what single runs give, wherever they are made and whoever dies on the way."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import dask
import pandas as pd
import pytest
import torch
from dask.distributed import LocalCluster

import aef_core as aef
from aef_core.config import home
from aef_core.errors import BadInput
from aef_core.jobs import LostWorkers
from companion.studies.study import grid

from .conftest import make_faces, tiny_zoo

CONFIG = aef.PerturbationConfig(steps=2, step_size=0.01, batch=4)
METHODS = {"averaging": ("uniform", {}), "AEF": ("aef", {"tau": 0.01}), "floor": ("random", {})}


def small_zoo() -> dict:
    return {"AttGAN": tiny_zoo()["AttGAN"]}


def test_every_combination_is_a_job_and_the_step_follows_the_bound() -> None:
    jobs = grid(METHODS, CONFIG, (0, 1), (0.05, 0.1))
    assert [(j.label, j.config.seed, j.config.eps) for j in jobs[:3]] == [
        ("averaging", 0, 0.05), ("averaging", 0, 0.1), ("averaging", 1, 0.05)
    ]  # fmt: skip
    assert len(jobs) == 12
    assert [j.config.step_size / j.config.eps for j in jobs] == pytest.approx([0.2] * 12)
    assert grid({"AEF": ("aef", {})}, CONFIG)[0].config == CONFIG, "to the bit: it is hashed"


def test_jobs_give_the_runs_and_tables_of_single_calls() -> None:
    zoo, faces, test = tiny_zoo(), make_faces(4), make_faces(2, seed=1)
    jobs = [
        aef.Job("aef", {"tau": 0.01}, CONFIG),
        aef.Job("uniform", config=CONFIG, models=("HiSD",)),
        aef.Job("fgsm", {"universal": False}, CONFIG, faces=test[:1]),
    ]
    runs, tables = aef.map_runs(zoo, faces, jobs, aef.Evaluator(zoo, test), progress=False)
    plain = aef.optimize(zoo, faces, "aef", CONFIG, tau=0.01, keep=False, progress=False)
    alone = aef.optimize({"HiSD": zoo["HiSD"]}, faces, "uniform", CONFIG, keep=False)
    assert torch.equal(runs[0].delta, plain.delta)
    assert torch.equal(runs[1].delta, alone.delta)
    assert runs[2].config["faces"]["n"] == 1
    pd.testing.assert_frame_equal(tables[0], aef.evaluate(zoo, test, plain.delta))
    assert set(tables[1]["model"]) == {"HiSD"}
    assert aef.map_runs(zoo, faces, jobs[:1], progress=False)[1] == [], "nobody judges"


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEF_SCHEDULER", "nonsense://x")
    with pytest.raises(BadInput, match=r"no Dask scheduler answers at 'nonsense://x'"):
        aef.map_runs(small_zoo(), make_faces(4), [aef.Job(config=CONFIG)])
    assert not list(home().glob("*"))


def kill_when(due, pid: int, killed: list[int]) -> threading.Thread:
    """Kill a process as soon as something is the case; it has five minutes to become so."""

    def wait() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if due():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def workers(shared: Path, n: int) -> LocalCluster:
    """Processes of their own, with a store of their own."""
    return LocalCluster(
        n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None,
        env={"AEF_HOME": str(shared), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def slow(state: object) -> None:
    """So that both workers are in the middle of a run at once, even on one core."""
    time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_run_costs_nothing(tmp_path: Path, capfd) -> None:
    """Its run resumes elsewhere; all runs are those of this process, to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    zoo, faces, test = small_zoo(), make_faces(4), make_faces(2, seed=1)
    config, shared = replace(CONFIG, steps=60), tmp_path / "shared"
    jobs = grid({"AEF": ("aef", {"tau": 0.01}), "floor": ("random", {})}, config, (0, 1))
    jobs = [replace(job, options={"on_step": slow}) for job in jobs]
    judge = aef.Evaluator(zoo, test)
    with workers(shared, 2) as cluster:
        killed: list[int] = []
        worker = next(iter(cluster.workers.values())).pid
        killer = kill_when(lambda: len(list(shared.glob("*.partial"))) == 2, worker, killed)
        runs, tables = aef.map_runs(zoo, faces, jobs, judge, scheduler=cluster.scheduler_address)
        killer.join()
        assert killed, "the worker died in the middle of a run"
    assert "runs: 100%" in capfd.readouterr().err
    assert len(list(shared.glob("*/run.json"))) == len(jobs)
    assert not list(shared.glob("*.partial"))
    assert sorted(run.path for run in runs) == sorted(p.parent for p in home().glob("*/run.json"))
    for job, run, table in zip(jobs, runs, tables, strict=True):
        stored = aef.load_run(run.path)
        (alone,), (judged,) = aef.map_runs(
            zoo, faces, [replace(job, options={"keep": False})], judge, progress=False
        )
        assert torch.equal(run.delta, alone.delta), job.label
        assert torch.equal(stored.delta, alone.delta)
        pd.testing.assert_frame_equal(table, judged)
    torch.set_num_threads(threads)


def deadly(state: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_run_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    job = aef.Job("aef", config=replace(CONFIG, seed=3), options={"on_step": deadly})
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        workers(tmp_path / "shared", 1) as cluster,
        pytest.raises(LostWorkers, match=r"the run 'aef', seed 3 brought down every worker"),
    ):
        aef.map_runs(small_zoo(), make_faces(4), [job], scheduler=cluster.scheduler_address)
