"""Malformed settings in Python, and command lines that no command can use."""

import math
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aef_core import __main__ as command
from aef_core.cli import shared
from aef_core.faces import load_faces
from aef_core.methods import METHODS
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.execution import Execution
from aef_core.runs import optimize

from ..conftest import make_faces, tiny_zoo
from . import Case
from .files import encoded, noise
from .store import go, zoo

VALUES = (
    None, True, False, "", "x", "1", b"1", [], {}, (1,), 0, -1, 3, 1.5, 0.0, -0.0, -0.5, 1e-320,
    1e30, 1e308, 10**400, 2**63, math.nan, math.inf, -math.inf, 1j, Fraction(1, 3),
    np.float32(0.25), np.int64(1), np.bool_(True), np.array([0.5]), torch.tensor(0.5),
    object(), float,
)  # fmt: skip
LONG = 1000  # a whole number above it may be meant, and would take too long here


def of_kind(kind: object, value: object) -> bool:
    """Is the value of a plain field's kind, finite, and no zero in float32 unless it is zero?"""
    if isinstance(value, bool | np.bool_):
        return kind is bool
    if kind is float:
        return isinstance(value, Real) and (value == 0 or 2**-126 <= abs(value) <= 3.4e38)
    return isinstance(value, Integral if kind is int else kind)


def try_setting(owner: str, name: str, kind: object, value: object, scratch: Path) -> bool:
    """Run with one setting replaced; what comes out must be a perturbation within its bound."""
    given: dict[str, Any] = {name: value}
    loop, method, settings, execution = {}, "aef", {}, {}
    if owner == "loop":
        loop = given
    elif owner == "execution":
        execution = given
    else:
        method, settings = owner, given
    config = PerturbationConfig(**{"steps": 2, "batch": 4, "step_size": 0.01} | loop)
    machine = Execution(**execution)
    if isinstance(value, int) and abs(value) > LONG and of_kind(kind, value):
        return True
    run = optimize(zoo(), make_faces(), method, config, settings=settings, execution=machine,
                   progress=False)  # fmt: skip
    within = run.delta.isfinite().all() and run.delta.abs().max() <= config.eps * (1 + 1e-5)
    return bool(of_kind(kind, value) and within and run.history["weight"].notna().all())


def try_argument(door: str, value: object, scratch: Path) -> bool:
    """An argument that is no field of a dataclass."""
    if door == "checkpoint_every":
        optimize(zoo(), make_faces(), "aef", PerturbationConfig(steps=2, batch=4), progress=False,
                 checkpoint_every=value)  # fmt: skip
    elif door == "batch":
        evaluate_run(go(), Evaluator(zoo(), make_faces(3, seed=1), value))
    else:
        load_faces(**{"n": 2} | {door: value})
    return of_kind(int, value) and value >= 1


def settings(seed: int, scale: float) -> Iterator[Case]:
    """Every plain field of the loop, the machine and the methods, with values of every kind."""
    draw = np.random.default_rng(seed)
    owners = {"loop": PerturbationConfig, "execution": Execution} | dict(METHODS)
    plain = [(owner, field) for owner, cls in owners.items() for field in fields(cls)
             if field.init and field.type in (int, float, bool, str)]  # fmt: skip
    for owner, field in plain:
        some = draw.permutation(len(VALUES))[: math.ceil(5 * scale)]
        for value in (VALUES[i] for i in some):
            act = partial(try_setting, owner, field.name, field.type, value)
            yield Case(f"{owner}, {field.name}={value!r}", act, field.name)
    for door in ("checkpoint_every", "batch", "n", "size"):
        for value in VALUES:
            if value is not None and not (door == "size" and value in (1, 3)):
                yield Case(f"{door}={value!r}", partial(try_argument, door, value), door)


# Command lines

NUMBERS = ("nan", "inf", "-1", "1e-320", "x", "", "1,5", "0x1", "1e999")
COUNTS = ("0", "-1", "1.5", "x", "", "1e3", str(-(2**64)))
NAMES = ("", "none", "../..", "/", "*", "\u2028", "a\nb", "ä" * 300, "-", "%s", "\x1b[31m")
OPTIONS = {
    "--eps": (*NUMBERS, "0", "3"),
    "--steps": COUNTS,
    "--faces": (*COUNTS, "100000"),
    "--seed": ("-1", "1.5", "x", "", str(2**64), str(2**64 - 1)),
    "--set": ("tau", "tau=", "=1", "tau=abc", "tau=nan", "tau=0", "tau=True", "speed=3", "loop=x",
              "recipe=1", "keep=2", "on_step=1", "__class__=1", ""),
    "--method": NAMES,
    "--step-size": (*NUMBERS, "0"),
    "--data": NAMES,
    "--official": NAMES,
    "--scheduler": ("nonsense", "tcp://", "http://127.0.0.1:1"),
}  # fmt: skip
WHOLE = (
    ["optimise"], [""], ["--frob"], ["optimize", "--frob"], ["optimize", "more"], ["evaluate"],
    ["optimize", "--eps"], ["protect"], ["zoo", "none"],
    ["zoo", ""], ["optimize", "--root", "."], ["optimize", "--data", "lfw"],
    ["optimize", "--data", "celeba", "--root", "."], ["optimize", "--data", "folder", "--root", ""],
    ["optimize", "--data", "folder", "--root", "photo.png"],
    ["optimize", "--data", "folder", "--root", "nowhere"], ["optimize", "--set", "tau=1", "--set",
    "tau=2"], ["evaluate", "none", "none"], ["evaluate", "none", "--faces", "0"],
    ["protect", "photo.png", "--check=maybe"],
    ["protect", "photo.png", "--out", "treasure"], ["protect", "photo.png", "--run", "none"],
)  # fmt: skip
ENVIRONMENT = {"AEF_DEVICE": ("x", "cuda:77", "meta", "\n"),
               "AEF_HOME": ("treasure", "/dev/null", "/proc/none", "x" * 300),
               "AEF_SCHEDULER": ("nonsense", "tcp://")}  # fmt: skip


def as_command(arguments: list[str], environment: dict[str, str], scratch: Path) -> bool:
    """Run a command as typed; tiny generators stand in for the embedded zoo, to save minutes."""

    def open_zoo(official: Path | None) -> dict:
        given = official is not None or "AEF_DEVICE" in environment
        return shared_zoo(official) if given else tiny_zoo()

    shared_zoo = shared.open_zoo
    (scratch / "photo.png").write_bytes(encoded(noise(), "PNG"))
    os.environ |= environment
    shared.open_zoo = open_zoo
    sys.argv = ["aef_core", *arguments]
    try:
        command.main()
    finally:
        shared.open_zoo = shared_zoo
    return True


def command_lines(seed: int, scale: float) -> Iterator[Case]:
    """Every option with every bad value, and lines that are wrong as a whole."""
    sound = ["optimize", "--steps", "1", "--faces", "4", "--set", "tau=0.1"]
    yield Case("sound", partial(as_command, sound, {}), sound=True)
    for option, values in OPTIONS.items():
        for value in values:
            act = partial(as_command, ["optimize", option, value], {})
            name = option.strip("-") if option in ("--eps", "--seed", "--steps", "--faces") else ""
            yield Case(f"optimize {option} {value!r:.40}", act, name)
    for value in (*NUMBERS, "0", "5"):
        act = partial(as_command, ["protect", "photo.png", "--strength", value], {})
        yield Case(f"protect --strength {value!r}", act, "strength")
    for value in NAMES:
        for line in (["evaluate", value], ["protect", "photo.png", "--run", value],
                     ["protect", value], ["protect", "photo.png", "--out", f"treasure/{value}"],
                     ["optimize", "--data", "folder", "--root", f"treasure/{value}"]):  # fmt: skip
            yield Case(f"{' '.join(line)!r:.60}", partial(as_command, line, {}))
    for line in WHOLE:
        yield Case(" ".join(line), partial(as_command, line, {}))
    for variable, values in ENVIRONMENT.items():
        for value in values:
            line = ["optimize", "--steps", "1", "--faces", "4"]
            act = partial(as_command, line, {variable: value})
            culprit = variable if variable == "AEF_DEVICE" else ""
            yield Case(f"{variable}={value!r:.40}", act, culprit)
