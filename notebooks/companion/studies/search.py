"""CMUA's search for its step sizes, with Optuna's TPE in place of NNI's."""

from typing import TYPE_CHECKING

import pandas as pd

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator, per_model
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.runs import optimize

if TYPE_CHECKING:
    import optuna

MEASURES = ("sr_mask", "l2_mask")
SPACE = (0.0, 10.0)  # of each factor, as in the published search_space.json


def search_factors(
    zoo: Zoo,
    faces: FaceBatch,
    judge: Evaluator,
    config: PerturbationConfig,
    trials: int = 50,
    measure: str = "sr_mask",
    worst: bool = False,
    seed: int = 0,
) -> tuple[dict[str, float], pd.DataFrame]:
    """The factors s_k that serve best, by a tree-structured Parzen estimator.

    Source: CMUA's automatic step size tuning (arXiv 2105.10872): TPE over uniform [0, 10], maximise
    the mean SR_mask, 1000 trials.

    Parameters
    ----------
    faces : FaceBatch
        Faces to optimise on.
    judge : Evaluator
        Faces to choose by: neither those nor the ones of the final evaluation.
    config : PerturbationConfig
    trials : int
        Optimisations to spend; the first one is factors of 1.
    measure : {"sr_mask", "l2_mask"}
        What to maximise, averaged over generators; SR_mask is flat where nothing is interrupted.
    worst : bool
        Maximise the worst generator's value instead of the mean (ours).

    Returns
    -------
    factors : dict of generator to float
    history : DataFrame
        One row a trial: value and the factors tried.

    Raises
    ------
    ValueError
        An unknown measure, or no trial.
    """
    if measure not in MEASURES:
        raise BadInput(f"unknown measure {measure!r}; known: {', '.join(MEASURES)}")
    if trials < 1:
        raise BadInput(f"trials is out of range: {trials}, must be at least 1")

    import optuna  # takes a second, and only the search needs it

    def value(trial: "optuna.Trial") -> float:
        factors = {name: trial.suggest_float(name, *SPACE) for name in zoo}
        run = optimize(zoo, faces, "cmua", config, factors=factors, keep=False, progress=False)
        levels = per_model(judge(run.delta))[measure].fillna(0.0)
        return float(levels.min() if worst else levels.mean())

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict.fromkeys(zoo, 1.0))
    study.optimize(value, n_trials=trials)
    history = pd.DataFrame([{"value": t.value, **t.params} for t in study.trials])
    return study.best_params, history
