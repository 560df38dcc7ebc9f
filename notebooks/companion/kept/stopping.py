"""Ending a run before its schedule does: once worst and mean have come to rest.

At rest after a step: the last `WINDOW` steps, compared with as many before, moved the outputs of
the worst generator, and of all in the mean, by less than `SETTLED`. One batch says little (its
faces and edits differ from the next one's), hence means over windows of several epochs. Which steps
count is said in `convergence`. Looked at every `EVERY` steps, and read from the history alone, so
that a run that was killed and resumed ends where it would have.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from aef_core.config import home
from aef_core.faces import FaceBatch
from aef_core.jobs import Job
from aef_core.methods import make_method
from aef_core.perturbation import State
from aef_core.perturbation.execution import PLAIN
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.perturbation.store import Run, run_hash, save_state
from aef_core.runs import find_run, optimize, run_identity
from companion.kept.convergence import IN_TURN, SETTLED, levels
from companion.kept.store import ENDED

WINDOW, EVERY = 100, 20


class AtRest(Exception):
    """Raised from `on_step`, which ends an optimisation and keeps its state."""


def at_rest(state: State, identity: dict[str, Any]) -> bool:
    """Whether the run of this identity ends here: see the module. Never in TSDF's second stage."""
    own = identity["loop"]["steps"] - identity["settings"].get("poison_steps", 0)
    due = state.step % EVERY == 0 and 2 * WINDOW <= state.step < own - 1
    if not due or state.extra or identity["method"] == IN_TURN:
        return False
    wide = levels(pd.DataFrame(state.history), identity)
    late = wide[wide.index >= state.step - WINDOW].mean()
    before = wide[(wide.index < state.step - WINDOW) & (wide.index >= state.step - 2 * WINDOW)]
    before = before.mean()
    changes = late.min() / before.min() - 1, late.mean() / before.mean() - 1
    return all(abs(change) < SETTLED for change in changes)  # NaN, where no step counts, is not


def until_rest(
    zoo: Zoo,
    faces: FaceBatch,
    job: Job,
    *,
    progress: bool = True,
    on_step: Callable[[State], None] | None = None,
) -> tuple[Run, str]:
    """Make or find the run of a job, over all its schedule or until it is at rest.

    One step more ends it as a schedule ends: DWT turns wavelets into pixels, TSDF goes on to its
    second stage. So what comes back is the run of a schedule of just so many steps, and the store
    has it as such; the state in which the longer one was left stays there, too, and is found again.

    Returns
    -------
    run, why
        Why it ended: `ENDED`, or after how many steps it was at rest.
    """
    options = {"execution": PLAIN, **job.options}
    problem = Problem(zoo, faces, execution=options["execution"])
    method = make_method(job.method, **job.settings)
    whole = run_identity(problem, method, job.config)
    asked = {"settings": job.settings, "progress": progress, **options}

    def watch(state: State) -> None:
        if on_step:
            on_step(state)
        if at_rest(state, whole):
            raise AtRest

    run, state, seconds = find_run(whole)
    if run or not (state and at_rest(state, whole)):
        try:
            return optimize(zoo, faces, job.method, job.config, on_step=watch, **asked), ENDED
        except AtRest:
            _, state, seconds = find_run(whole)
    steps = state.step + 1
    short = replace(job.config, steps=round(steps * method.cost(zoo)))  # `loop` divides by the cost
    identity = run_identity(problem, method, short)
    if not any(find_run(identity)[:2]):
        save_state((home() / run_hash(identity)).with_suffix(".partial"), state, seconds)
    why = f"at rest after {steps} steps: worst and mean changed by < 1 % over {WINDOW}"
    return optimize(zoo, faces, job.method, short, on_step=on_step, **asked), why
