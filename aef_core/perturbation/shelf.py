"""Stored runs: a list of them, and one by its name."""

from pathlib import Path

import pandas as pd

from aef_core.config import home
from aef_core.errors import BadInput, NotFound
from aef_core.perturbation.store import Run, load_run, read_meta

A_RUN = "[0-9a-f]" * 12 + "/run.json"  # of a finished run; nothing half-made or foreign fits


def list_runs() -> pd.DataFrame:
    """The stored runs, one row each: hash, method, settings, steps, eps, seed, generators."""
    rows = []
    for path in sorted(home().glob(A_RUN)):
        config = read_meta(path.parent)["config"]
        rows.append(
            {"run": path.parent.name, "method": config["method"], "settings": config["settings"]}
            | {k: config["loop"][k] for k in ("steps", "eps", "seed")}
            | {"models": ", ".join(config["zoo"]), "faces": config["faces"]["source"]}
        )
    return pd.DataFrame(rows)


def run_named(name: str) -> Run:
    """A stored run by folder, hash, or the hash's first digits.

    Raises FileNotFoundError if none fits, ValueError if several do.
    """
    if not name.strip():
        raise BadInput("the name of the run is empty: give its folder or hash")
    if (Path(name) / "run.json").exists():
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
    runs = {}
    for run in map(run_named, names):
        if run.path.name in runs:
            raise BadInput(f"run {run.path.name} is named twice: name it once")
        runs[run.path.name] = run
    return list(runs.values())
