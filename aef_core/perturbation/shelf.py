"""Stored runs: a list of them, and one by its name."""

from pathlib import Path

import pandas as pd

from aef_core.config import home
from aef_core.errors import BadInput, NotFound, reading
from aef_core.perturbation.store import Run, load_run, read_meta, stored_runs


def list_runs() -> pd.DataFrame:
    """The stored runs, one row each: hash, method, settings, steps, eps, seed, generators."""
    rows = []
    for folder in stored_runs(home()):
        config = read_meta(folder)["config"]
        loop = {k: config["loop"][k] for k in ("steps", "eps", "seed")}
        rows.append(
            {"run": folder.name, "method": config["method"], "settings": config["settings"]}
            | loop
            | {"models": ", ".join(config["zoo"]), "faces": config["faces"]["source"]}
        )
    return pd.DataFrame(rows)


def run_named(name: str) -> Run:
    """A stored run by folder, hash, or the hash's first digits.

    Raises
    ------
    FileNotFoundError
        None fits; the message says where was looked.
    ValueError
        Several fit.
    """
    if not name.strip():
        raise BadInput("the name of the run is empty: give its folder or hash")
    with reading(name, "give a run's folder or hash"):
        is_folder = (Path(name) / "run.json").exists()
    if is_folder:
        return load_run(name)
    fitting = sorted(p.parent for p in home().glob("*/run.json") if p.parent.name.startswith(name))
    if not fitting:
        raise NotFound(f"no run {name!r} in {home()}: make one with optimize")
    if len(fitting) > 1:
        names = ", ".join(p.name for p in fitting[:4])
        raise BadInput(f"{name!r} fits {len(fitting)} runs ({names}, ...): give more digits")
    return load_run(fitting[0])


def runs_named(names: list[str]) -> list[Run]:
    """Stored runs, each once (ValueError if two names mean the same)."""
    runs = [run_named(name) for name in names]
    for i, run in enumerate(runs):
        if run.path.name in [other.path.name for other in runs[:i]]:
            raise BadInput(f"run {run.path.name} is named twice: name it once")
    return runs
