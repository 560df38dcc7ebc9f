"""How much the notebooks compute, and where what only they need is kept."""

import os
from dataclasses import dataclass
from pathlib import Path

from aef_core.config import REPOSITORY, home
from aef_core.errors import BadInput

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Profile:
    """How much a notebook computes. Results of different profiles are not comparable."""

    name: str
    n_train: int  # faces optimised on
    n_test: int  # faces judged on
    steps: int
    step_size: float  # in [-1, 1] units
    feature_steps: int
    seeds: tuple[int, ...]
    taus: tuple[float, ...]  # swept, in units of the interruption strength
    betas: tuple[float, ...]


PROFILES = {
    p.name: p
    for p in (
        # seconds: every cell runs, no number means anything
        Profile("smoke", 4, 4, 2, 1e-2, 0, (0, 1), (0.01, 0.1), (0.0, 0.9)),
        # minutes on two CPU cores: larger steps than the paper's, fewer of them
        Profile("quick", 32, 24, 24, 5e-3, 0, (0, 1), (0.001, 0.01, 0.1), (0.0, 0.9)),
        # the schedule of the authors' published code; for a GPU
        Profile(
            "paper", 128, 256, 480, 1e-3, 3, (0, 1, 2, 3, 4),
            (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), (0.0, 0.5, 0.9, 0.99),
        ),
    )
}  # fmt: skip


def get_profile(name: str | None = None) -> Profile:
    """A profile by name; `AEF_PROFILE` or "quick" by default. Raises `BadInput` if unknown."""
    name = name or os.environ.get("AEF_PROFILE") or "quick"
    if name not in PROFILES:
        raise BadInput(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
    return PROFILES[name]


def figures_dir() -> Path:
    """Folder of figures: `AEF_FIGURES`, else `figures/` in the checkout.

    The smoke profile draws noise, so its figures go beside the runs instead.
    """
    if os.environ.get("AEF_FIGURES"):
        return Path(os.environ["AEF_FIGURES"])
    return home() / "figures" if get_profile().name == "smoke" else REPOSITORY / "figures"
