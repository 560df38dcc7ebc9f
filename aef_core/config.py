"""Where things are, and on which device."""

import os
from pathlib import Path

import torch

from aef_core.errors import BadInput

ASSETS = Path(__file__).parent / "assets"
REPOSITORY = Path(__file__).parents[1]


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
        torch.zeros(1, device=name).item()  # "meta" holds no number
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BadInput(
            f"{option}={str(name)!r} is no device of this machine: use cpu, or cuda or cuda:1 "
            "where torch finds them"
        ) from None
    return torch.device(name)
