"""How runs lie on disk: a folder each, written atomically, read whole or not at all.

A finished run is `<home>/<hash>/` with `run.json` (config, versions, checksums), `history.csv`,
`cosines.npy` and `delta.safetensors`. While it is being made, `<home>/<hash>.partial` holds the
state it would resume from.
"""

import hashlib
import json
import os
import pickle
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aef_core.errors import AEFError, NotFound
from aef_core.perturbation.state import State


class DamagedRun(AEFError, RuntimeError):
    """A run folder exists but is not whole; the message names the file and the cure."""


@dataclass(frozen=True)
class Run:
    """A finished optimisation.

    Attributes
    ----------
    delta : Tensor, shape [1 or N, 3, H, W], values in [-eps, eps]
    history : DataFrame
        One row per step and generator: step, model, strength, output_mse, feature_mse, weight,
        grad_l1, solver_failed (a plain average stands in for weights that a solver did not find).
    cosines : ndarray, shape [steps, K, K]
        Cosines between the generators' gradients at each step.
    config : dict
        Everything that determined the result.
    seconds : float
        Wall-clock time of the optimisation, without the caller's `on_step`.
    path : Path or None
        Its folder, None if it was not kept.
    """

    delta: Tensor
    history: pd.DataFrame
    cosines: np.ndarray
    config: dict[str, Any]
    seconds: float
    path: Path | None = None


def run_hash(identity: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a config, whatever the order of its keys."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_run(folder: str | Path) -> Run:
    """Read a stored run, refusing one that is not whole.

    Raises
    ------
    FileNotFoundError
        No such folder.
    DamagedRun
        A file is missing, unreadable or does not match its checksum.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such run")
    try:
        meta = json.loads((folder / "run.json").read_text())
        for name, expected in meta["sha256"].items():
            if _sha256(folder / name) != expected:
                raise DamagedRun(f"{folder / name} was changed: delete {folder} and run again")
        delta = safetensors.torch.load_file(folder / "delta.safetensors")["delta"]
        history = pd.read_csv(folder / "history.csv")
        cosines = np.load(folder / "cosines.npy")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DamagedRun(f"{folder} is damaged ({error}): delete it and run again") from None
    return Run(delta, history, cosines, meta["config"], meta["seconds"], folder)


def save_run(folder: Path, run: Run) -> None:
    """Write beside, then rename: the folder appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    safetensors.torch.save_file({"delta": run.delta.contiguous()}, temporary / "delta.safetensors")
    run.history.to_csv(temporary / "history.csv", index=False)
    np.save(temporary / "cosines.npy", run.cosines)
    meta = {
        "config": run.config,
        "seconds": round(run.seconds, 3),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sha256": {f.name: _sha256(f) for f in sorted(temporary.iterdir())},
    }
    (temporary / "run.json").write_text(json.dumps(meta, indent=1))
    try:
        os.replace(temporary, folder)
    except OSError:  # another process finished the same run first: same config, same bits
        shutil.rmtree(temporary)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_state(path: Path, state: State, seconds: float) -> None:
    """Keep where a run stands, and the seconds it took so far; atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(asdict(state) | {"seconds": seconds}, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> tuple[State | None, float]:
    """The state and seconds kept in a file, or None and 0 where there is none.

    Raises
    ------
    DamagedRun
        The file is not a whole state.
    """
    if not path.exists():
        return None, 0.0
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        seconds = stored.pop("seconds")
        return State(**stored), seconds
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedRun(f"{path} is damaged ({reason}): delete it and run again") from None
