"""How runs lie on disk: a folder each, written atomically, read whole or not at all.

A finished run is `<home>/<hash>/` with `run.json` (config, versions, checksums), `history.csv`,
`cosines.npy` and `delta.safetensors`. While it is being made, `<home>/<hash>.partial` holds the
state it would resume from. The hash is that of the config, and is checked when a run is read.
"""

import hashlib
import io
import json
import math
import pickle
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aef_core.atomic import replacement, write_bytes
from aef_core.config import home
from aef_core.errors import AEFError, BadInput, NotFound, NotWritable, reading, reason
from aef_core.perturbation.state import State

FILES = ("cosines.npy", "delta.safetensors", "history.csv")  # of a run, beside run.json
ROUNDING = 1e-5  # of eps: what float32 may add to a bound


class DamagedRun(AEFError, RuntimeError):
    """A stored file is damaged or not what its name says; the message names file and cure."""


@dataclass(frozen=True)
class Run:
    """A finished optimisation."""

    delta: Tensor  # [1 or N, 3, H, W], values in [-eps, eps]
    history: pd.DataFrame  # a row per step and generator: step, model, strength, output_mse,
    # feature_mse, weight, grad_l1, solver_failed (equal weights stand in for those not found)
    cosines: np.ndarray  # [steps, K, K]: between the generators' gradients at each step
    config: dict[str, Any]  # everything that determined the result
    seconds: float  # of wall-clock time, without the caller's `on_step`
    path: Path | None = None  # its folder, None if it was not kept


def run_hash(identity: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a config, whatever the order of its keys."""
    return sha256(json.dumps(identity, sort_keys=True).encode())[:12]


def load_run(folder: str | Path) -> Run:
    """Read a stored run; FileNotFoundError if there is none, DamagedRun if it is not whole.

    That is: a file is missing, unreadable or does not match its checksum, the folder's name is not
    the hash of the config in it, or delta is not finite or outside its budget.
    """
    folder = Path(folder)
    if not (folder.exists() or folder.is_symlink()):
        raise NotFound(f"{folder}: no such run")
    path, name = folder / "run.json", folder.absolute().name
    content = {file: read_bytes(folder / file, folder) for file in ("run.json", *FILES)}
    with damage_at(path, folder):
        meta = json.loads(content["run.json"])
        config, seconds, sums = meta["config"], meta["seconds"], meta["sha256"]
        if not (set(sums) == set(FILES) and math.isfinite(seconds) and seconds >= 0):
            raise BadInput("a checksum or the time is missing")
        found = run_hash(config)
    if found != name:
        cure = f"rename the folder, or delete {folder} and run again"
        raise DamagedRun(f"{path} is of run {found}, not {name}: {cure}")
    with damage_at(folder, folder):
        for file in FILES:
            if sha256(content[file]) != sums[file]:
                raise BadInput(f"{file} was changed")
        delta = safetensors.torch.load(content["delta.safetensors"])["delta"]
        history = pd.read_csv(io.BytesIO(content["history.csv"]))
        cosines = np.load(io.BytesIO(content["cosines.npy"]), allow_pickle=False)
        _check_delta(delta, config)
    return Run(delta, history, cosines, config, seconds, folder)


def run_named(name: str) -> Run:
    """A stored run by folder, hash, or the hash's first digits.

    Raises FileNotFoundError if none fits, ValueError if several do.
    """
    if not name.strip():
        raise BadInput("the name of the run is empty: give its folder or hash")
    with reading(name, "give a run's folder or hash"):
        is_folder = (Path(name) / "run.json").exists()
    if is_folder:
        return load_run(name)
    fitting = sorted(p.parent for p in home().glob("*/run.json") if p.parent.name.startswith(name))
    if not fitting:
        raise NotFound(f"no run {name!r} in {home()}: make one with optimize")
    if len(fitting) > 1:
        names = ", ".join(p.name for p in fitting[:4])
        raise BadInput(f"{name!r} fits {len(fitting)} runs ({names}, ...): give more digits")
    return load_run(fitting[0])


def save_run(folder: Path, run: Run) -> None:
    """Write a finished run; the folder appears whole or not at all.

    Raises NotWritable for a full disk, no permission, or something at its place that is not this
    run; if it is, another process finished first: same config, same bits.
    """
    _check_delta(run.delta, run.config)
    cosines = io.BytesIO()
    np.save(cosines, run.cosines)
    content = {
        "cosines.npy": cosines.getvalue(),
        "delta.safetensors": safetensors.torch.save({"delta": run.delta.contiguous()}),
        "history.csv": run.history.to_csv(index=False).encode(),
    }
    meta = {
        "config": run.config,
        "seconds": round(run.seconds, 3),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sha256": {name: sha256(value) for name, value in content.items()},
    }
    content["run.json"] = json.dumps(meta, indent=1).encode()
    try:
        with replacement(folder) as temporary:
            temporary.mkdir()
            for name, value in content.items():
                (temporary / name).write_bytes(value)
    except NotWritable as error:
        try:
            load_run(folder)
        except (DamagedRun, NotFound):
            partial = folder.with_suffix(".partial")
            kept = f"; {partial} keeps what was computed: then run again" * partial.exists()
            raise NotWritable(f"{error}{kept}") from None


def save_state(path: Path, state: State, seconds: float) -> None:
    """Keep the state of an unfinished run and the seconds it took so far; atomic."""
    content = io.BytesIO()
    torch.save(asdict(state) | {"seconds": seconds}, content)
    write_sealed(path, content.getvalue())


def load_state(path: Path, steps: int | None = None) -> tuple[State | None, float]:
    """The state and seconds kept in a file, or None and 0 where there is none.

    Raises DamagedRun if it is not a whole state, not of the run it is named for, or not within the
    `steps` that the run has in all.
    """
    if not (path.exists() or path.is_symlink()):
        return None, 0.0
    content = read_sealed(path)
    with damage_at(path):
        stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        seconds = stored.pop("seconds")
        state = State(**stored)
        if not 1 <= state.step <= (steps or state.step):
            raise BadInput(f"step {state.step} of {steps}")
        if not (state.delta.isfinite().all() and state.velocity.isfinite().all()):
            raise BadInput("delta or velocity is not finite")
    return state, seconds


def write_sealed(path: Path, content: bytes) -> None:
    """Write content below a line that ties it to the file's name and its own checksum; atomic."""
    write_bytes(path, f"# {path.stem} {sha256(content)}\n".encode() + content)


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` wrote; DamagedRun if it was changed, cut, renamed, or never sealed."""
    head, _, content = read_bytes(path).partition(b"\n")
    seal = head.decode(errors="replace").split()
    with damage_at(path):
        if len(seal) != 3 or seal[0] != "#" or seal[2] != sha256(content):
            raise BadInput("no checksum that fits, or an older format")
        if seal[1] != path.stem:
            raise BadInput(f"it holds {seal[1]}")
    return content


def read_bytes(path: Path, culprit: Path | str = "it") -> bytes:
    """All of a file that ought to be there, else `DamagedRun`."""
    with damage_at(path, culprit):
        if not path.is_file():  # a pipe would be waited for
            raise BadInput("it is missing or no file")
        return path.read_bytes()


def sha256(content: bytes) -> str:
    """Checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def damage_at(path: Path, culprit: Path | str = "it") -> Iterator[None]:
    """Turn whatever reading stored content raises into a one-line `DamagedRun`."""
    try:
        yield
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            SafetensorError, TypeError, ValueError, pickle.UnpicklingError) as error:  # fmt: skip
        said = f"{path} is damaged ({reason(error)})"
        raise DamagedRun(f"{said}: delete {culprit} and run again") from None


def _check_delta(delta: Tensor, config: dict[str, Any]) -> None:
    """Refuse a delta that is not finite, or outside the plain box; of other budgets more is not
    known here."""
    if delta.dim() != 4 or not delta.is_floating_point() or not delta.isfinite().all():
        found = f"{tuple(delta.shape)}, {delta.dtype}"
        raise BadInput(f"delta.safetensors is no finite tensor [., ., ., .] ({found})")
    eps, plain = config["loop"]["eps"], config.get("budget", {"name": "box"})["name"] == "box"
    over = delta.double().abs().max().item() - eps
    if plain and over > ROUNDING * eps:
        raise BadInput(f"delta.safetensors leaves the box of eps {eps} by {over:.2g}")
