"""Attacks on the store: kills, writers at once, no room, no right to write."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch

from aef_core.config import REPOSITORY, home
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.store import Run
from aef_core.runs import optimize

from ..conftest import make_faces, tiny_zoo
from . import Case, Harm

OPERATIONS = ("replace", "fsync", "open", "mkdir", "unlink", "rmdir", "link")
NOBODY = 65534
STEPS = 6


@cache
def zoo() -> dict:
    """One tiny generator."""
    return {"StarGAN": tiny_zoo()["StarGAN"]}


def go(seed: int = 0, **options: object) -> Run:
    """A short run that is saved after every step."""
    config = PerturbationConfig(steps=STEPS, step_size=0.01, batch=4, seed=seed)
    every = {"progress": False, "checkpoint_every": 1}
    return optimize(zoo(), make_faces(), "aef", config, **every, **options)


@cache
def straight(seed: int = 0) -> torch.Tensor:
    """What the run must end with, to the bit."""
    return go(seed, keep=False).delta


def judge() -> Evaluator:
    """A judge on three faces."""
    return Evaluator(zoo(), make_faces(3, seed=1))


def same_bits() -> bool:
    """Does the run go on to the very bits, and is the store then as if nothing had been?"""
    right = torch.equal(go().delta, straight())
    if leaks := list(home().rglob(".aef-*")):  # the next new run a day later removes them
        for leak in leaks:
            os.utime(leak, (0, 0))
        shutil.rmtree(go(1).path)
    names = [p.name for p in home().iterdir()]
    if len(names) != 1 or len(list(home().glob("*/run.json"))) != 1:
        raise Harm(f"left in the store: {', '.join(names)}")
    return right


@contextmanager
def before(act: Callable[[str], None]) -> Iterator[None]:
    """Have something happen before every file operation of `os`; it is given its name."""
    real = {name: getattr(os, name) for name in OPERATIONS}

    def wrapped(name: str, *args: object, **options: object) -> object:
        act(name)
        return real[name](*args, **options)

    for name in OPERATIONS:
        setattr(os, name, partial(wrapped, name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def operations(home_folder: Path) -> list[str]:
    """The file operations of a whole run, in order."""
    os.environ["AEF_HOME"] = str(home_folder)
    straight()  # what torch does at its first step is not the store's
    names: list[str] = []
    with before(names.append):
        go()
    return names


def victim(*arguments: object) -> subprocess.Popen:
    """Another process that makes the run, and its evaluation if it lives to."""
    command = [sys.executable, "-m", "tests.campaign.victim", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def kill_after(seconds: float, scratch: Path) -> bool:
    """kill -9 at a random moment, then the same call again."""
    with victim() as child:
        child.stdout.readline()  # it begins
        time.sleep(seconds)
        child.kill()
    return same_bits()


def kill_before(count: int, scratch: Path) -> bool:
    """kill -9 just before a file operation, then the same call again."""
    with victim(count) as child:
        child.stdout.read()
    if child.wait() != -signal.SIGKILL:
        raise RuntimeError(f"the victim lived ({child.returncode}): the case attacks nothing")
    return same_bits()


def kills(seed: int, scale: float) -> Iterator[Case]:
    """At random moments, and before file operations all along a run."""
    draw = random.Random(seed)
    for _ in range(round(14 * scale)):
        seconds = draw.uniform(0, 0.4)
        yield Case(f"after {seconds:.3f} s", partial(kill_after, seconds))
    names = _traced()
    for count in _spread(len(names), round(26 * scale)):
        yield Case(f"before {count}, {names[count - 1]}", partial(kill_before, count))


def _traced() -> list[str]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return operations(Path(folder) / "home")


def _spread(total: int, n: int) -> list[int]:
    """n of the numbers 1 to total, evenly, with both ends."""
    return sorted({1 + round(i * (total - 1) / max(1, n - 1)) for i in range(n)})


def write_at_once(n: int, scratch: Path) -> bool:
    """Several processes make the same run and its evaluation."""
    children = [victim() for _ in range(n)]
    said = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise Harm(f"a writer was turned away: {said}")
    evaluate_run(go(), judge())
    return same_bits()


def writers(seed: int, scale: float) -> Iterator[Case]:
    """Two to four at once."""
    for i in range(max(1, round(6 * scale))):
        yield Case(f"{2 + i % 3} writers, {i}", partial(write_at_once, 2 + i % 3))


def _refused(act: Callable[[], object], mend: Callable[[], None]) -> bool:
    """Whatever is refused on the way must not spoil what follows once the cause is gone."""
    try:
        act()
    except Exception:
        mend()
        if not same_bits():
            raise Harm("other bits after the cause was gone") from None
        raise
    mend()
    return same_bits()


def fail_at(count: int, number: int, scratch: Path) -> bool:
    """A file operation fails once, with this errno, then the same call again."""
    seen = [0]

    def fail(name: str) -> None:
        seen[0] += 1
        if seen[0] == count:
            raise OSError(number, os.strerror(number))

    def act() -> None:
        with before(fail):
            go()

    return _refused(act, lambda: None)


def limit_files(size: int, at: int, scratch: Path) -> bool:
    """From a step on, no file may be larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step(state: State) -> None:
        if state.step == at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    if at == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    return _refused(lambda: go(on_step=on_step),
                    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))  # fmt: skip


def full_disks(seed: int, scale: float) -> Iterator[Case]:
    """ENOSPC and EIO of single operations, and a limit on what a file may hold."""
    names = _traced()
    for count in _spread(len(names), round(100 * scale)):
        number = (errno.ENOSPC, errno.EIO)[count % 2]
        act = partial(fail_at, count, number)
        yield Case(f"{errno.errorcode[number]} at {count}, {names[count - 1]}", act, "home")
    for at in range(STEPS + 1):
        for size in (0, 100, 5000):
            yield Case(f"{size} bytes from step {at}", partial(limit_files, size, at), "home")


def take_rights(at: int, mode: int, scratch: Path) -> bool:
    """From a step on, the store cannot be written (root gives up its rights meanwhile)."""
    home().mkdir()
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(home(), NOBODY, NOBODY)
        os.seteuid(NOBODY)

    def on_step(state: State) -> None:
        if state.step == at:
            home().chmod(mode)

    if at == 0:
        home().chmod(mode)
    try:
        return _refused(lambda: go(on_step=on_step), lambda: home().chmod(0o755))
    finally:
        if was_root:
            os.seteuid(0)


def read_only_homes(seed: int, scale: float) -> Iterator[Case]:
    """From the start, or from a step on; unwritable, and unreadable, too."""
    straight()
    for mode in (0o555, 0o000):
        for at in range(STEPS + 1):
            act = partial(take_rights, at, mode)
            yield Case(f"mode {mode:03o} from step {at}", act, "home")
