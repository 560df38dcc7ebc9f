"""The perturbation: its objective, the one loop that optimises it, and the runs that keep it."""

from aef_core.perturbation.loop import Diverged, check_finite, perturb
from aef_core.perturbation.state import PerturbationConfig, State, batch_rows, initial_state

__all__ = [
    "Diverged", "PerturbationConfig", "State", "batch_rows", "check_finite", "initial_state",
    "perturb",
]  # fmt: skip
