"""Attacks on what the store holds: damaged bytes, forged values, entries under another's name."""

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from aef_core.config import home
from aef_core.metrics import Evaluator
from aef_core.metrics.evaluations import evaluate_run
from aef_core.perturbation import State
from aef_core.perturbation.store import FILES, sha256

from .campaign import Case
from .campaign_store import go, straight, zoo
from .conftest import make_faces


def entry(evaluated: bool, finished: bool) -> Path:
    """A finished run with an evaluation, or the partial of one that was stopped."""

    def on_step(state: State) -> None:
        if not finished and state.step == 4:
            raise InterruptedError

    try:
        run = go(on_step=on_step)
    except InterruptedError:
        return next(home().glob("*.partial"))
    if evaluated:
        evaluate_run(run, Evaluator(zoo(), make_faces(3, seed=1)))
    return run.path


def damage_bytes(name: str, how: str, place: float, scratch: Path) -> bool:
    """Damage a file of the store, then ask for it; a right answer may still come out."""
    found = entry(name == "evaluation", name != "partial")
    pattern = "evaluation-*" if name == "evaluation" else name
    path = found if name == "partial" else next(found.glob(pattern))
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if how == "flip":
        content[at] ^= 1 << (at % 8)
    elif how == "cut":
        del content[at:]
    elif how == "zeros":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    else:
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
    run = go()
    table = evaluate_run(run, Evaluator(zoo(), make_faces(3, seed=1)))
    return torch.equal(run.delta, straight()) and len(table) == 3 * len(zoo()["StarGAN"].edits)


def forge_delta(value: float, scratch: Path) -> bool:
    """Another delta under a checksum that fits."""
    folder = entry(False, True)
    delta = straight().clone()
    delta.view(-1)[::7] = value
    content = safetensors.torch.save({"delta": delta})
    (folder / "delta.safetensors").write_bytes(content)
    meta = json.loads((folder / "run.json").read_text())
    meta["sha256"]["delta.safetensors"] = sha256(content)
    (folder / "run.json").write_text(json.dumps(meta))
    return torch.equal(go().delta, straight())


def swap(kind: str, scratch: Path) -> bool:
    """What belongs to another seed, under this one's name."""
    other = entry(False, kind == "run")
    wanted = go(1).path
    shutil.rmtree(wanted)
    other.rename(wanted.with_suffix(other.suffix))
    return torch.equal(go(1).delta, straight(1))


def damaged(seed: int, scale: float) -> Iterator[Case]:
    """Bytes of every file of the store, forged values, entries under another's name."""
    straight(1)
    draw = np.random.default_rng(seed)
    for name in (*sorted(FILES), "run.json", "evaluation", "partial"):
        for how in ("flip", "cut", "zeros", "more"):
            for place in draw.random(round(8 * scale)):
                act = partial(damage_bytes, name, how, float(place))
                yield Case("damaged store entry", f"{name}, {how} at {place:.2f}", act, ("home",))
        for how in ("remove", "link", "pipe", "folder"):
            act = partial(damage_bytes, name, how, 0.5)
            yield Case("damaged store entry", f"{name}, {how}", act, ("home",))
    for value in (float("nan"), float("inf"), 0.051, -1.0):
        yield Case("damaged store entry", f"delta {value}", partial(forge_delta, value), ("delta",))
    for kind in ("run", "partial"):
        yield Case("damaged store entry", f"another seed's {kind}", partial(swap, kind), ("home",))


ATTACKS = (damaged,)
