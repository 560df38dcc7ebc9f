"""Runs: an optimisation is made once, found again by its config, resumed where it stopped."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from aef_core import distributed
from aef_core.atomic import check_writable, remove_leaks
from aef_core.config import home
from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.models.base import check_size
from aef_core.perturbation.execution import Execution
from aef_core.perturbation.loop import PerturbationConfig, State, perturb
from aef_core.perturbation.objective import NO_HOOKS, Hooks, Zoo
from aef_core.perturbation.store import (
    Run,
    load_run,
    load_state,
    read_meta,
    run_hash,
    save_run,
    save_state,
    stored_runs,
)
from aef_core.weighting import make_rule

FORMAT = 2  # raise it when the meaning of a config or of a file changes


class Stopped(Exception):
    """Raise it from `on_step` to end an optimisation early: its state is kept, then it travels on.

    The same call of `optimize` later goes on where this one stopped, to the same bits.
    """


def optimize(
    zoo: Zoo,
    faces: FaceBatch,
    method: str = "aef",
    config: PerturbationConfig | None = None,
    *,
    keep: bool = True,
    progress: bool = True,
    checkpoint_every: int = 20,
    on_step: Callable[[State], None] | None = None,
    hooks: Hooks = NO_HOOKS,
    loop: Callable[..., Iterator[State]] = perturb,
    recipe: Mapping[str, Any] | None = None,
    execution: Execution | None = None,
    **settings: Any,
) -> Run:
    """Optimise a perturbation, or find the run that already did.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces to optimise on.
    method : str
        A weighting rule: one of `aef_core.weighting.RULES`.
    config : PerturbationConfig, optional
        Settings of the loop, the paper's by default.
    keep : bool
        Store the run (and resume or reuse a stored one). False leaves no trace.
    progress : bool
        Show a progress bar.
    checkpoint_every : int
        Steps between saved states; a killed run resumes from the last one, to the same bits.
    on_step : callable, optional
        Called with the state after every step; may raise `Stopped`.
    hooks : Hooks, optional
        Another budget than the box, or transformations on the way (see `interruption.Hooks`).
    loop : callable
        Yields the states: `perturb`, or a method's own composition of it with the same arguments.
    recipe : mapping, optional
        What `run.config` says of such a method, beyond rule and loop.
    execution : Execution, optional
        Memory, precision, layout; in the run's identity where it changes more than rounding.
    **settings
        Hyper-parameters of the rule, e.g. `tau=0.01`.

    Returns the `Run`, the same in every process that shares the work; the first writes it.

    Raises
    ------
    ValueError
        Unknown method or setting, eps <= 0, faces of another size than the generators' and the
        like: before anything is computed.
    Diverged
        A loss became NaN; the last saved state stays.
    DamagedRun
        A stored run of this config, or the state it stopped in, is not whole.
    NotWritable
        The store takes no files, found before the work; or no longer, after it.
    """
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise BadInput(f"checkpoint_every is {checkpoint_every}, must be an integer of at least 1")
    check_size(zoo, faces.images)
    config = config or PerturbationConfig()
    rule = make_rule(method, **settings)
    identity = run_identity(zoo, faces, method, config, **settings) | hooks.identity()
    identity |= (recipe or {}) | (execution.identity() if execution else {})
    folder = home() / run_hash(identity)
    partial = folder.with_suffix(".partial")
    peers = distributed.peers()

    def stored() -> tuple[Run | None, State | None, float]:
        if not keep:
            return None, None, 0.0
        if folder.exists() or folder.is_symlink():
            return load_run(folder), None, 0.0
        remove_leaks(folder.parent)
        shape = (1 if config.universal else len(faces), *hooks.budget.shape(faces.images))
        check_writable(folder.parent, _kept_bytes(shape, config.steps, len(zoo)))
        return None, *load_state(partial, config.steps)

    found, resumed, seconds = peers.agree(stored)
    if found:
        return found
    bar = tqdm(total=config.steps, initial=resumed.step if resumed else 0, desc=method,
               disable=not progress or peers.rank > 0, leave=False)  # fmt: skip
    started = time.perf_counter()
    machine = (execution, peers) if execution or peers.size > 1 else ()
    state, states = resumed, ()
    if not resumed or resumed.step < config.steps:  # else only its last rename had failed
        states = loop(zoo, faces, rule, config, resumed, hooks, *machine)
    for state in states:
        seconds += time.perf_counter() - started
        bar.update()
        stopped = _asked_to_stop(on_step, state) if on_step else None
        # after the last step there is nothing left to stop; else all processes stop together
        if peers.any(stopped is not None) and state.step < config.steps:
            bar.close()
            if keep and peers.rank == 0:
                save_state(partial, state, seconds)
            raise stopped or Stopped(f"stopped after step {state.step} with another process")
        started = time.perf_counter()
        due = state.step % checkpoint_every == 0 and state.step < config.steps
        if keep and peers.rank == 0 and due:
            save_state(partial, state, seconds)
    bar.close()
    run = Run(
        state.delta.cpu(),
        pd.DataFrame(state.history),
        np.array(state.cosines),
        identity,
        seconds,
        folder if keep else None,
    )

    def finish() -> None:
        save_state(partial, state, seconds)  # should the folder not appear, nothing is lost
        save_run(folder, run)
        partial.unlink(missing_ok=True)

    if keep:
        peers.agree(finish)
    return run


def _kept_bytes(shape: tuple[int, ...], steps: int, models: int) -> int:
    """About what a run takes: state and new state beside it, delta, and a row of text a step."""
    return 5 * 4 * math.prod(shape) + steps * models * (500 + 20 * models)


def _asked_to_stop(on_step: Callable[[State], None], state: State) -> Stopped | None:
    try:
        on_step(state)
        return None
    except Stopped as stopped:
        return stopped


def run_identity(
    zoo: Zoo, faces: FaceBatch, method: str, config: PerturbationConfig, **settings: Any
) -> dict[str, Any]:
    """Everything that determines a run's result, to the bit.

    Device type and torch version are part of it, since neither promises the bits of another.
    """
    return {
        "format": FORMAT,
        "device": next(next(iter(zoo.values())).parameters()).device.type,
        "torch": torch.__version__,
        "method": method,
        "settings": make_rule(method, **settings).settings(),
        "loop": config.to_dict(),
        "zoo": {name: fingerprint(model) for name, model in zoo.items()},
        "faces": {"source": faces.source, "n": len(faces), "crc": faces.fingerprint()},
    }


def find_run(identity: dict[str, Any]) -> tuple[Run | None, State | None]:
    """What the store holds of a run: it finished, or the state it stopped in, or neither."""
    if (folder := home() / run_hash(identity)).exists():
        return load_run(folder), None
    steps = identity["loop"]["steps"]
    return None, load_state(folder.with_suffix(".partial"), steps)[0]


def fingerprint(model: torch.nn.Module) -> str:
    """Short checksum of a model's weights."""
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def list_runs() -> pd.DataFrame:
    """The stored runs, one row each: hash, method, settings, steps, eps, seed, generators."""
    rows = []
    for folder in stored_runs(home()):
        config = read_meta(folder)["config"]
        loop = {k: config["loop"][k] for k in ("steps", "eps", "seed")}
        rows.append(
            {"run": folder.name, "method": config["method"], "settings": config["settings"]}
            | loop
            | {"models": ", ".join(config["zoo"]), "faces": config["faces"]["source"]}
        )
    return pd.DataFrame(rows)
