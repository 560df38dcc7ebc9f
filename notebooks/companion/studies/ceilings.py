"""Ceilings: how far each generator can be interrupted by a perturbation made for it alone."""

import math

from tqdm.auto import tqdm

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.store import Run
from aef_core.runs import optimize

COLUMNS = {"output": "output_mse", "strength": "strength"}


def ceilings_of(
    zoo: Zoo,
    faces: FaceBatch,
    config: PerturbationConfig | None = None,
    balance: str = "output",
    *,
    keep: bool = True,
    progress: bool = True,
) -> tuple[float, ...]:
    """Strength a specialist perturbation reaches per generator, for `make_rule("max-min")`.

    One run per generator with the same faces, budget and steps; together they cost about one run
    on the whole zoo, are kept as runs, and are found again (they are those of `study.specialists`).
    A specialist of finite steps is a lower bound of the true ceiling, and all are so alike.

    Parameters
    ----------
    faces : FaceBatch
        The faces to optimise on; the evaluation faces stay unseen.
    balance : {"output", "strength"}
        What `max-min` balances: the output MSE (default there as here) or S_k.

    Returns
    -------
    tuple of K floats, > 0, in the order of the zoo.

    Raises
    ------
    ValueError
        Unknown `balance`, or a generator that nothing can interrupt.
    """
    if balance not in COLUMNS:
        raise BadInput(f"balance must be one of {', '.join(COLUMNS)}, got {balance!r}")
    config = config or PerturbationConfig()
    ceilings = []
    for name, model in tqdm(zoo.items(), desc="ceilings", disable=not progress, leave=False):
        run = optimize({name: model}, faces, "uniform", config, keep=keep, progress=False)
        ceilings.append(reached(run, balance, math.ceil(len(faces) / config.batch)))
        if not ceilings[-1] > 0:
            raise BadInput(f"{name} cannot be interrupted at eps {config.eps}: leave it out")
    return tuple(ceilings)


def reached(run: Run, balance: str, steps: int) -> float:
    """Mean of what is balanced over the last `steps` rows of a run on one generator."""
    return float(run.history[COLUMNS[balance]].iloc[-steps:].mean())
