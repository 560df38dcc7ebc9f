"""The front door: an optimisation is made once, found again by its config, and resumed.

`optimize` makes the method, iterates over its `steps` and keeps what comes out. `Method.steps` (in
`methods.base`) calls `perturb` (in `perturbation.loop`), where the arithmetic is.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.atomic import check_writable, remove_leaks
from aef_core.config import home
from aef_core.errors import BadInput, reading
from aef_core.faces import FaceBatch
from aef_core.methods import make_method
from aef_core.methods.base import Method
from aef_core.models.base import check_size, fingerprint
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import INTERRUPTION, Objective, Problem, Zoo
from aef_core.perturbation.store import Run, load_run, load_state, run_hash, save_run, save_state
from aef_core.registry import check_count

FORMAT = 3  # raise it when the meaning of a config or of a file changes


def optimize(
    zoo: Zoo,
    faces: FaceBatch,
    method: str = "aef",
    config: PerturbationConfig | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    budget: Budget = BOX,
    transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    objective: Objective = INTERRUPTION,
    execution: Execution = PLAIN,
    keep: bool = True,
    progress: bool = True,
    checkpoint_every: int = 20,
    on_step: Callable[[State], None] | None = None,
    **more: Any,
) -> Run:
    """Optimise a perturbation, or find the run that already did.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces to optimise on; for a method per image, the faces to protect.
    method : str
        One of `aef_core.methods.METHODS`: a published method or a bare weighting rule.
    config : PerturbationConfig, optional
        Settings of the loop, the paper's by default; what a method itself fixes is taken from the
        method, and `steps` is the computation allowed, see `Method.loop`.
    settings : mapping, optional
        Settings of the method or rule, e.g. `{"tau": 0.01}`; or by keyword, `tau=0.01`, where none
        of these arguments has the name.
    budget, transform, objective
        What else shapes the problem, see `objective.Problem`.
    execution : Execution
        Memory, precision, layout; in the run's identity where it changes more than rounding.
    keep : bool
        Store the run, and resume or reuse a stored one. With False nothing is read or written.
    progress : bool
        Show a progress bar.
    checkpoint_every : int
        Steps between saved states; a killed run resumes from the last one, to the same bits.
    on_step : callable, optional
        Called with the state after every step. An exception from it ends the optimisation: the
        state is kept, and the same call goes on from there later, to the same bits.

    Raises
    ------
    ValueError
        Unknown method or setting, a value out of range, faces of another size than the
        generators': before anything is computed.
    Diverged
        A loss became NaN; the last saved state stays.
    DamagedRun
        A stored run of this config, or the state it stopped in, is not whole.
    NotWritable
        The store takes no files, found before the work; or no longer, after it.
    """
    _check_switches(keep=keep, progress=progress)
    check_count("checkpoint_every", checkpoint_every)
    if twice := sorted(set(settings or {}) & set(more)):
        raise BadInput(f"setting {twice[0]!r} is given twice: once is enough")
    problem = Problem(zoo, faces, budget, transform, objective, execution)
    check_size(zoo, faces.images)
    chosen = make_method(method, **{**(settings or {}), **more})
    identity = run_identity(problem, chosen, config or PerturbationConfig())
    config = PerturbationConfig(**identity["loop"])
    folder = home() / run_hash(identity)
    partial = folder.with_suffix(".partial")
    run, state, seconds = find_run(identity) if keep else (None, None, 0.0)
    if run:
        _forget(partial)
        return run
    if keep:
        remove_leaks(folder.parent)
        check_writable(folder.parent)
    before, states = state.step if state else 0, ()
    if before < config.steps:  # else only its last rename had failed
        states = chosen.steps(problem, config, state)
    started = time.perf_counter()
    with tqdm(states, total=config.steps, initial=before, desc=method, disable=not progress,
              leave=False) as bar:  # fmt: skip
        for state in bar:
            seconds += time.perf_counter() - started
            last = state.step == config.steps
            try:
                if on_step:
                    on_step(state)
            except Exception:
                if keep:
                    save_state(partial, state, seconds)
                raise
            started = time.perf_counter()
            if keep and (last or state.step % checkpoint_every == 0):
                save_state(partial, state, seconds)  # the last, too: should its folder not appear
    history, cosines = pd.DataFrame(state.history), np.array(state.cosines)
    run = Run(state.delta.cpu(), history, cosines, identity, seconds, folder if keep else None)
    if keep:
        save_run(folder, run)
        _forget(partial)
    return run


def _forget(partial: Path) -> None:
    with suppress(OSError):  # the run is whole without it; the next call tries again
        partial.unlink(missing_ok=True)


def _check_switches(**switches: object) -> None:
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise BadInput(f"{name} must be True or False, got {value!r}; if you mean a setting "
                           f"of the method: settings={{{name!r}: {value!r}}}")  # fmt: skip


def run_identity(problem: Problem, method: Method, config: PerturbationConfig) -> dict[str, Any]:
    """Everything that determines a run's result, to the bit; `config` as given to `optimize`.

    Device type and torch version are part of it, since neither promises the bits of another.
    """
    faces = problem.faces
    return {
        "format": FORMAT,
        "device": problem.device.type,
        "torch": torch.__version__,
        "method": method.name,
        "settings": method.settings(),
        "loop": asdict(method.loop(config, len(faces), problem.zoo)),
        "zoo": {name: fingerprint(model) for name, model in problem.zoo.items()},
        "faces": {"source": faces.source, "n": len(faces), "crc": faces.fingerprint()},
        **problem.identity(),
    }


def find_run(identity: dict[str, Any]) -> tuple[Run | None, State | None, float]:
    """What the store has: the finished run; or the last state of it, and its seconds so far."""
    folder = home() / run_hash(identity)
    with reading(folder, "take back the right to"):
        found = folder.exists() or folder.is_symlink()
    if found:
        return load_run(folder), None, 0.0
    return None, *load_state(folder.with_suffix(".partial"), identity["loop"]["steps"])
