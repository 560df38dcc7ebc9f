"""How runs lie on disk: a folder each, written atomically, read whole or not at all.

A finished run is `<home>/<hash>/` with `run.json` (config, versions, checksums), `history.csv`,
`cosines.npy` and `delta.safetensors`. While it is being made, `<home>/<hash>.partial` holds the
state it would resume from. The hash is that of the config: what is read is what its name says.
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
from aef_core.errors import AEFError, BadInput, NotFound, NotWritable
from aef_core.perturbation.state import State

FILES = ("cosines.npy", "delta.safetensors", "history.csv")  # of a run, beside run.json
ROUNDING = 1e-5  # of eps: what float32 may add to a bound


class DamagedRun(AEFError, RuntimeError):
    """Something stored is not whole or not what its name says; the message names file and cure."""


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
    meta, cure = read_meta(folder), _cure(folder)
    content = {}
    for name in FILES:
        content[name] = read_bytes(folder / name, cure)
        if sha256(content[name]) != meta["sha256"][name]:
            raise DamagedRun(f"{folder / name} was changed: {cure}")
    with damage_at(folder, cure):
        delta = safetensors.torch.load(content["delta.safetensors"])["delta"]
        history = pd.read_csv(io.BytesIO(content["history.csv"]))
        cosines = np.load(io.BytesIO(content["cosines.npy"]), allow_pickle=False)
    if flaw := _flaw(delta, meta["config"]):
        raise DamagedRun(f"{folder / 'delta.safetensors'} {flaw}: {cure}")
    return Run(delta, history, cosines, meta["config"], meta["seconds"], folder)


def read_meta(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run: config, seconds, versions and sha256 of each other file.

    Raises DamagedRun if it cannot be read, lacks one of them, or the folder has not the name that
    the config gives it.
    """
    path, cure = folder / "run.json", _cure(folder)
    content = read_bytes(path, cure)
    with damage_at(path, cure):
        meta = json.loads(content)
        found, seconds, sums = run_hash(meta["config"]), meta["seconds"], meta["sha256"]
        if not (set(sums) == set(FILES) and math.isfinite(seconds) and seconds >= 0):
            raise BadInput("a checksum or the time is missing")
    name = Path(folder.absolute()).name
    if found != name:
        raise DamagedRun(f"{path} is of run {found}, not {name}: rename the folder, or {cure}")
    return meta


def save_run(folder: Path, run: Run) -> None:
    """Write a finished run; the folder appears whole or not at all.

    Raises NotWritable for a full disk, no permission, or something at its place that is not this
    run; if it is, another process finished first: same config, same bits.
    """
    if flaw := _flaw(run.delta, run.config):
        raise BadInput(f"run {folder.name} cannot be kept: delta {flaw}")
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
    """Keep where a run stands, and the seconds it took so far; atomic."""
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
    with damage_at(path, "delete it and run again"):
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
    cure = "delete it and run again"
    head, _, content = read_bytes(path, cure).partition(b"\n")
    seal = head.decode(errors="replace").split()
    with damage_at(path, cure):
        if len(seal) != 3 or seal[0] != "#" or seal[2] != sha256(content):
            raise BadInput("no checksum that fits, or an older format")
        if seal[1] != path.stem:
            raise BadInput(f"it holds {seal[1]}")
    return content


def read_bytes(path: Path, cure: str) -> bytes:
    """All of a file that ought to be there; raises `DamagedRun` with the cure."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise DamagedRun(f"{path} is missing or no file: {cure}")
        return path.read_bytes()
    except OSError as error:
        raise DamagedRun(f"{path} cannot be read ({error.strerror}): {cure}") from None


def sha256(content: bytes) -> str:
    """Checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def damage_at(path: Path, cure: str) -> Iterator[None]:
    """Whatever its parser finds wrong with stored content, as `DamagedRun` in one line."""
    try:
        yield
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            SafetensorError, TypeError, ValueError, pickle.UnpicklingError) as error:  # fmt: skip
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedRun(f"{path} is damaged ({said}): {cure}") from None


def _cure(folder: Path) -> str:
    return f"delete {folder} and run again"


def _flaw(delta: Tensor, config: dict[str, Any]) -> str | None:
    """What is wrong with a perturbation for its config, None if nothing.

    The plain box is checked; of other budgets only finiteness is known here.
    """
    if delta.dim() != 4 or not delta.is_floating_point() or not delta.isfinite().all():
        return f"is no finite tensor of four dimensions ({tuple(delta.shape)}, {delta.dtype})"
    if config.get("budget", {"name": "box"})["name"] != "box":
        return None
    eps = config["loop"]["eps"]
    over = delta.double().abs().max().item() - eps
    return f"leaves the box of eps {eps} by {over:.2g}" if over > ROUNDING * eps else None
