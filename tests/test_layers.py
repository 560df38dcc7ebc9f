"""One table of floors: a module imports its own room and rooms on lower floors, nothing else."""

import ast
from pathlib import Path

from aef_core.config import REPOSITORY

FLOORS = (
    {"errors"},
    {"config", "registry", "atomic"},
    {"weighting", "models"},
    {"faces"},
    {"perturbation"},
    {"methods"},
    {"metrics"},
    {"runs"},
    {"jobs", "plots"},
    {"cli"},
    {"__init__", "__main__"},
    {"companion"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROOTS = (REPOSITORY / "aef_core", REPOSITORY / "notebooks" / "companion")
# Arrows that still run up, or to a room without a floor. Mend one, delete its line; add none.
TO_MEND: set[tuple[str, str]] = set()


def room_of(module: str) -> str:
    """The room of a module by its dotted name: "aef_core.faces.batch" lies in "faces"."""
    package, _, rest = module.partition(".")
    return package if package == "companion" else rest.partition(".")[0] or "__init__"


def is_room(name: str) -> bool:
    return (ROOTS[0] / name).is_dir() or (ROOTS[0] / f"{name}.py").is_file()


def module_of(path: Path) -> str:
    root = next(r for r in ROOTS if path.is_relative_to(r))
    return ".".join(path.relative_to(root.parent).with_suffix("").parts)


def imported(path: Path, module: str) -> set[str]:
    """Every module of ours that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            here = module.rsplit(".", node.level)[0] + "." if node.level else ""
            source = here + (node.module or "")
            # `from aef_core import faces` imports a room, `from aef_core import __version__` none
            names = [a.name for a in node.names if source == "aef_core" and is_room(a.name)]
            found |= {f"{source}.{name}" for name in names}
            found |= {source} if len(names) < len(node.names) else set()
    return {m for m in found if m.split(".")[0] in ("aef_core", "companion")}


def arrows() -> set[tuple[str, str]]:
    """Imports of the two packages that leave their room: (module, room it imports)."""
    paths = (path for root in ROOTS for path in root.rglob("*.py"))
    names = {path: module_of(path) for path in paths}
    every = {(m, room_of(other)) for path, m in names.items() for other in imported(path, m)}
    return {(module, room) for module, room in every if room != room_of(module)}


def upward(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those that point to the same floor, a higher one, or a room the table does not have."""
    top = len(FLOORS)
    return {(m, r) for m, r in found if FLOOR.get(r, top) >= FLOOR.get(room_of(m), -1)}


def test_imports_point_down_except_where_listed() -> None:
    assert upward(arrows()) == TO_MEND


def test_an_arrow_that_runs_up_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text("def late():\n    from companion import plots\n    import aef_core.metrics\n")
    found = imported(path, "aef_core.faces.lazy")
    assert found == {"companion", "aef_core.metrics"}
    assert upward({("aef_core.faces.lazy", room_of(m)) for m in found}) == {
        ("aef_core.faces.lazy", "companion"), ("aef_core.faces.lazy", "metrics"),
    }  # fmt: skip


def test_plots_see_no_network_and_only_training_and_studies_train() -> None:
    """Inside the companion, where there is one floor: figures get tables, not generators."""
    companion = ROOTS[1]
    for path in (companion / "plots").glob("*.py"):
        rooms = {room_of(m) for m in imported(path, module_of(path))}
        assert "models" not in rooms, path.name
    for room in ("plots", "studies", "claims", "widgets"):
        for path in (companion / room).glob("*.py"):
            used = imported(path, module_of(path))
            assert not [m for m in used if m.startswith("companion.training")], path.name
