"""Attacks on the store: kills, writers at once, no room, no right to write."""

import errno
import os
import pickle
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import torch

from aef_core.config import home
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluations import evaluate_run
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.shelf import list_runs
from aef_core.perturbation.store import Run
from aef_core.runs import optimize

from .campaign import Case, Harm
from .conftest import make_faces, tiny_zoo

FILE_OPERATIONS = ("replace", "fsync", "open", "mkdir", "unlink", "rmdir")
NOBODY = 65534


@cache
def zoo() -> dict:
    """One tiny generator, made once before the forks."""
    return {"StarGAN": tiny_zoo()["StarGAN"]}


def go(seed: int = 0, **options: object) -> Run:
    """A run of six steps that is saved after each."""
    config = PerturbationConfig(steps=6, step_size=0.01, batch=4, seed=seed)
    every = {"progress": False, "checkpoint_every": 1}
    return optimize(zoo(), make_faces(), "aef", config, **every, **options)


@cache
def straight(seed: int = 0) -> torch.Tensor:
    """What the run must end with, to the bit; made in a fork, since a process whose autograd has
    run hangs its own forks."""
    reader, writer = os.pipe()

    def make() -> None:
        with os.fdopen(writer, "wb") as out:
            pickle.dump(go(seed, keep=False).delta.numpy(), out)

    child = in_fork(make)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        delta = torch.from_numpy(pickle.load(answer))
    os.waitpid(child, 0)
    return delta


def same_bits(seed: int = 0) -> bool:
    """Does the run go on to the very bits, and is the store then as if nothing had been?"""
    right = torch.equal(go(seed).delta, straight(seed))
    names = [p.name for p in home().iterdir()]
    if len(names) != 1 or len(list_runs()) != 1:
        raise Harm(f"left in the store: {', '.join(names)}")
    return right


def in_fork(act: Callable[[], object]) -> int:
    """The id of a process that does it and ends."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return child


def kill_after(seconds: float, scratch: Path) -> bool:
    """kill -9 at a random moment, then the same call again."""
    child = in_fork(go)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return same_bits()


def before(operation: str, count: int, act: Callable[[], None]) -> None:
    """Have something happen before the count-th call of a file operation of `os`."""
    real, left = getattr(os, operation), [count]

    def wrapped(*args: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            act()
        return real(*args, **options)

    setattr(os, operation, wrapped)


def kill_before(operation: str, count: int, scratch: Path) -> bool:
    """kill -9 just before a file operation, then the same call again."""

    def doomed() -> None:
        before(operation, count, lambda: os.kill(os.getpid(), signal.SIGKILL))
        go()

    os.waitpid(in_fork(doomed), 0)
    return same_bits()


def kills(seed: int, scale: float) -> Iterator[Case]:
    """At random moments, and before each file operation."""
    straight()
    draw = random.Random(seed)
    for _ in range(round(50 * scale)):
        seconds = draw.uniform(0, 0.4)
        yield Case("kill -9", f"after {seconds:.3f} s", partial(kill_after, seconds))
    spots = [(o, n) for o in FILE_OPERATIONS for n in range(1, 26)]
    for operation, n in draw.sample(spots, round(len(spots) * min(1, scale))):
        yield Case("kill -9", f"before {operation} {n}", partial(kill_before, operation, n))


def write_at_once(n: int, scratch: Path) -> bool:
    """Several processes make the same run and its evaluation."""

    def work() -> None:
        evaluate_run(go(), Evaluator(zoo(), make_faces(3, seed=1)))

    for child in [in_fork(work) for _ in range(n)]:
        os.waitpid(child, 0)
    work()
    return same_bits()


def writers(seed: int, scale: float) -> Iterator[Case]:
    """Two to four at once."""
    for i in range(round(12 * scale)):
        yield Case("writers at once", f"{2 + i % 3}", partial(write_at_once, 2 + i % 3))


def _refused(act: Callable[[], object], mend: Callable[[], None]) -> None:
    """Whatever is refused on the way must not spoil what follows once the cause is gone."""
    try:
        act()
    except Exception:
        mend()
        if not same_bits():
            raise Harm("other bits after the cause was gone") from None
        raise


def fail_at(operation: str, count: int, number: int, scratch: Path) -> bool:
    """An operation fails once, with this errno, then the same call again."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    before(operation, count, fail)
    _refused(go, lambda: None)
    return same_bits()


def limit_files(size: int, at: int, scratch: Path) -> bool:
    """From a step on, no file may be larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step(state: State) -> None:
        if state.step == at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    if at == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    _refused(lambda: go(on_step=on_step),
             lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))  # fmt: skip
    return True


def full_disks(seed: int, scale: float) -> Iterator[Case]:
    """ENOSPC and EIO of single operations, and a limit on what a file may hold."""
    for operation in ("fsync", "replace", "mkdir"):
        for n in range(1, round(24 * scale) + 1):
            number = (errno.ENOSPC, errno.EIO)[n % 2]
            act = partial(fail_at, operation, n, number)
            yield Case("full disk", f"{operation} {n}", act, ("home",))
    for at in range(6):
        for size in (0, 100, 5000):
            act = partial(limit_files, size, at)
            yield Case("full disk", f"{size} bytes from step {at}", act, ("home",))


def take_rights(at: int, scratch: Path) -> bool:
    """From a step on, the store cannot be written (root gives up its rights first)."""
    home().mkdir()
    if os.geteuid() == 0:
        os.chown(home(), NOBODY, NOBODY)
        os.setuid(NOBODY)

    def on_step(state: State) -> None:
        if state.step == at:
            home().chmod(0o555)

    on_step(State(torch.zeros(1), torch.zeros(1)))
    _refused(lambda: go(on_step=on_step), lambda: home().chmod(0o755))
    return False  # nothing refused: the result is not kept


def read_only_homes(seed: int, scale: float) -> Iterator[Case]:
    """From the start, or from a step on."""
    for at in range(6):
        yield Case("read-only home", f"from step {at}", partial(take_rights, at), ("home",))


ATTACKS = (kills, writers, full_disks, read_only_homes)
