"""Where things are, and how much work a profile asks for."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

ASSETS = Path(__file__).parent / "assets"


def home() -> Path:
    """Folder of runs: `AEF_HOME`, else `runs/` beside the package's checkout."""
    return Path(os.environ.get("AEF_HOME") or Path(__file__).parents[1] / "runs")


def default_device() -> torch.device:
    """`AEF_DEVICE` if set, else CUDA where there is one, else the CPU."""
    return torch.device(
        os.environ.get("AEF_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    )
