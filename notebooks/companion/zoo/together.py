"""Train several generators side by side on one GPU, each in a process of its own.

    python -m companion.zoo.together --photos FOLDER --out FOLDER --within 8

One training of a small generator leaves most of a GPU idle; four share it well. On a CPU train one
after the other.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from companion.zoo.recipes import RECIPES


def main(
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    out: Annotated[Path, typer.Option(help="where checkpoints, log and pictures go")],
    within: Annotated[float, typer.Option(help="minutes of each training")],
    models: Annotated[list[str] | None, typer.Option("--model", help="all by default")] = None,
    batch: Annotated[int, typer.Option(help="faces a step")] = 16,
    starts: Annotated[Path | None, typer.Option(help="folder of weights to start from")] = None,
) -> None:
    """Train all, wait, and name those that failed."""
    running = {}
    for model in models or RECIPES:
        options = {"photos": photos, "out": out, "within": within, "batch": batch}
        options |= {"every": within / 4, "threads": 2}
        if starts and (starts / f"{model}.safetensors").exists():
            options["start"] = starts / f"{model}.safetensors"
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "companion.zoo.train", model, *words]
        running[model] = subprocess.Popen(command)
    failed = [model for model, process in running.items() if process.wait()]
    if failed:
        print(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
