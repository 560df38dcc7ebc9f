"""Binder builds the tested environment for a machine without a GPU; no front end is favoured."""

import os
from pathlib import Path

import yaml

from aef_core.config import REPOSITORY

BINDER = REPOSITORY / ".binder"


def pinned(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_binder_installs_the_lock_without_cuda_and_the_package() -> None:
    environment = yaml.safe_load((BINDER / "environment.yml").read_text())
    *conda, through_pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"]
    assert through_pip == {"pip": ["-r requirements-cpu.txt"]}
    lines = pinned(REPOSITORY / "requirements.lock")
    lock = dict(line.split(" ;")[0].split("==") for line in lines)
    torch = ".".join(lock["torch"].split(".")[:2])
    vision = ".".join(lock["torchvision"].split(".")[:2])
    assert {"python=3.11", f"pytorch-cpu={torch}", f"torchvision={vision}"} <= set(conda)
    assert os.access(BINDER / "postBuild", os.X_OK)
    assert "--no-deps" in (BINDER / "postBuild").read_text()


def test_cpu_requirements_are_the_lock_without_pytorch_and_cuda() -> None:
    left_out = ("torch=", "torchvision=", "cuda", "nvidia", "triton")
    lock = pinned(REPOSITORY / "requirements.lock")
    wanted = [line for line in lock if not line.startswith(left_out)]
    assert len(wanted) < len(lock)
    assert pinned(BINDER / "requirements-cpu.txt") == wanted


def test_notebooks_favour_no_front_end() -> None:
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        for word in ("%matplotlib", "%config", "google.colab", "tqdm.notebook"):
            assert word not in text, f"{path.name}: {word}"
