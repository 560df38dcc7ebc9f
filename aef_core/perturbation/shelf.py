"""Stored runs by their names."""

from pathlib import Path

from aef_core.config import home
from aef_core.errors import BadInput, NotFound, reading
from aef_core.perturbation.store import Run, load_run


def run_named(name: str) -> Run:
    """A stored run by folder, hash, or the hash's first digits.

    Raises FileNotFoundError if none fits, ValueError if several do.
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
    runs = {}
    for run in map(run_named, names):
        if run.path.name in runs:
            raise BadInput(f"run {run.path.name} is named twice: name it once")
        runs[run.path.name] = run
    return list(runs.values())
