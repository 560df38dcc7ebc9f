"""Companion to "Adaptive Equilibrium: Dynamic Weighting Framework for Generalized Interruption of
DeepFake Models" (AEF, arXiv 2605.00443).

    import aef_core as aef

    zoo = aef.load_zoo()
    run = aef.optimize(zoo, aef.load_faces(split="train", n=64), method="aef", tau=0.01)
    table = aef.evaluate(zoo, aef.load_faces(split="test"), run.delta)
"""

from aef_core import plots
from aef_core.faces import FaceBatch, load_faces
from aef_core.jobs import Job, map_runs
from aef_core.methods import METHODS
from aef_core.metrics import Evaluator, balance, evaluate, per_model, protect
from aef_core.models.zoo import load_zoo
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.execution import Execution
from aef_core.perturbation.store import Run, load_run
from aef_core.runs import optimize

__version__ = "0.1.0"

__all__ = [
    "METHODS", "Evaluator", "Execution", "FaceBatch", "Job", "PerturbationConfig", "Run", "balance",
    "evaluate", "load_faces", "load_run", "load_zoo", "map_runs", "optimize", "per_model", "plots",
    "protect",
]  # fmt: skip
