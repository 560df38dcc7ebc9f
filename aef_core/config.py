"""Where things are, and how much work a profile asks for."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from aef_core.errors import BadInput

ASSETS = Path(__file__).parent / "assets"
REPOSITORY = Path(__file__).parents[1]


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
        Profile("smoke", 8, 4, 4, 1e-2, 0, (0, 1), (0.01, 0.1), (0.0, 0.9)),
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


def home() -> Path:
    """Folder of runs: `AEF_HOME`, else `runs/` in the checkout."""
    return Path(os.environ.get("AEF_HOME") or REPOSITORY / "runs")


def default_device(asked: str | torch.device | None = None) -> torch.device:
    """A device by name, tried with one number; by default `AEF_DEVICE`, else CUDA, else the CPU.

    Raises `BadInput`, which names the option, where this machine has no such device.
    """
    found = "cuda" if torch.cuda.is_available() else "cpu"
    option, name = "device", asked
    if asked is None:
        option, name = "AEF_DEVICE", os.environ.get("AEF_DEVICE") or found
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds no number
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BadInput(
            f"{option}={str(name)!r} is no device of this machine: use cpu, or cuda or cuda:1 "
            "where torch finds them"
        ) from None
    return device
