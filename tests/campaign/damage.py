"""Attacks on what the store holds: damaged bytes, forged values, entries under another's name."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from aef_core.config import home
from aef_core.metrics.evaluation import evaluate_run
from aef_core.perturbation import State
from aef_core.perturbation.store import FILES, sha256

from . import Case
from .store import go, judge, straight


class _Halted(Exception):
    pass


def prepared(finished: bool, folder: Path) -> None:
    """Fill a store with a finished, evaluated run, or with the partial of one that was stopped."""
    os.environ["AEF_HOME"] = str(folder)

    def on_step(state: State) -> None:
        if not finished and state.step == 4:
            raise _Halted

    try:
        evaluate_run(go(on_step=on_step), judge())
    except _Halted:
        return


def damage_bytes(store: Path, pattern: str, how: str, place: float, scratch: Path) -> bool:
    """Damage a file of the store, then ask for it; a right answer may still come out."""
    shutil.copytree(store, home())
    (path,) = home().rglob(pattern)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if how == "flip":
        content[at] ^= 1 << (at % 8)
    elif how == "cut":
        del content[at:]
    elif how == "zeros":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif how == "more":
        content[at:at] = b"more"
    path.unlink()
    if how == "link":
        path.symlink_to("nowhere")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how != "remove":
        path.write_bytes(content)
    return _right_again()


def _right_again() -> bool:
    run = go()
    table = evaluate_run(run, judge())
    listed = list(home().glob("*/run.json")) == [run.path / "run.json"]
    return listed and torch.equal(run.delta, straight()) and table.equals(judge()(run.delta))


def forge_delta(store: Path, value: float, scratch: Path) -> bool:
    """Another delta under a checksum that fits."""
    shutil.copytree(store, home())
    (path,) = home().rglob("delta.safetensors")
    delta = straight().clone()
    delta.view(-1)[::7] = value
    content = safetensors.torch.save({"delta": delta})
    path.write_bytes(content)
    meta = json.loads((path.parent / "run.json").read_text())
    meta["sha256"]["delta.safetensors"] = sha256(content)
    (path.parent / "run.json").write_text(json.dumps(meta))
    return _right_again()


def forge_meta(store: Path, key: str, value: object, scratch: Path) -> bool:
    """Another value in `run.json`, which has no checksum of its own."""
    shutil.copytree(store, home())
    (path,) = home().rglob("run.json")
    meta = json.loads(path.read_text())
    meta[key] = value
    path.write_text(json.dumps(meta))
    return _right_again()


def swap(store: Path, scratch: Path) -> bool:
    """What belongs to this seed, under another one's name."""
    shutil.copytree(store, home())
    (other,) = home().iterdir()
    wanted = go(1).path
    shutil.rmtree(wanted)
    other.rename(wanted.with_suffix(other.suffix))
    return torch.equal(go(1).delta, straight(1))


def damaged(seed: int, scale: float) -> Iterator[Case]:
    """Bytes of every file of the store, forged values, entries under another's name."""
    draw = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, half = Path(folder) / "whole", Path(folder) / "half"
        prepared(True, whole)
        prepared(False, half)
        patterns = dict.fromkeys((*sorted(FILES), "run.json", "evaluation-*"), whole)
        for pattern, store in (patterns | {"*.partial": half}).items():
            yield Case(f"{pattern}, untouched",
                       partial(damage_bytes, store, pattern, "", 0), sound=True)  # fmt: skip
            for how in ("flip", "cut", "zeros", "more"):
                for place in draw.random(round(7 * scale)):
                    act = partial(damage_bytes, store, pattern, how, float(place))
                    yield Case(f"{pattern}, {how} at {place:.3f}", act, "home")
            for how in ("remove", "link", "pipe", "folder"):
                act = partial(damage_bytes, store, pattern, how, 0.5)
                yield Case(f"{pattern}, {how}", act, "home")
        for value in (float("nan"), float("inf"), 0.051, -1.0):
            yield Case(f"delta {value}", partial(forge_delta, whole, value), "delta")
        for key in ("config", "seconds", "sha256"):
            for value in (None, [], {}, "x", -1, float("nan"), True):
                yield Case(f"{key} {value!r}", partial(forge_meta, whole, key, value), "run.json")
        yield Case("another seed's run", partial(swap, whole), "home")
        yield Case("another seed's partial", partial(swap, half), "home")
