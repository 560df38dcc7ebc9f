"""Rules of the house that no linter knows. Each is one test that lists every offender."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from aef_core.config import REPOSITORY

LIBRARY = REPOSITORY / "aef_core"
COMPANION = REPOSITORY / "notebooks" / "companion"
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MODULES = sorted(path for package in (LIBRARY, COMPANION) for path in package.rglob("*.py"))

CEILING = 5500  # lines of the library in all, tests apart: lower it with every cut
LONGEST_FILE = 250
FULL_ROOM = 10  # modules in one folder of the library


def offenders(found: Iterable[str]) -> str:
    """A failure message: every offender on a line of its own, nothing if there is none."""
    return "\n".join(sorted(found))


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_the_library_stays_under_its_ceiling() -> None:
    total = sum(lines_of(path) for path in LIBRARY.rglob("*.py"))
    assert 0 < total <= CEILING


def test_no_module_is_long() -> None:
    sizes = {place(path): lines_of(path) for path in MODULES}
    assert sizes
    long = offenders(f"{name}: {n} lines" for name, n in sizes.items() if n > LONGEST_FILE)
    assert not long, long


def test_no_room_of_the_library_is_crowded() -> None:
    rooms = {path.parent for path in LIBRARY.rglob("*.py")}
    counts = {place(room): len(list(room.glob("*.py"))) for room in rooms}
    crowded = offenders(f"{room}: {n} modules" for room, n in counts.items() if n > FULL_ROOM)
    assert not crowded, crowded


def test_no_module_names_a_device() -> None:
    named = offenders(
        f"{place(path)}: {word}"
        for path in MODULES
        for word in (".cuda(", '"cuda:0"')
        if word in path.read_text()
    )
    assert not named, named


def undocumented(path: Path) -> Iterator[str]:
    """A module without a docstring, and its public functions and classes without one."""
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree):
        yield place(path)
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{place(path)}:{node.lineno} {node.name}"


def test_modules_and_their_public_names_are_documented() -> None:
    silent = offenders(line for path in MODULES for line in undocumented(path))
    assert not silent, f"no docstring:\n{silent}"


def test_importing_does_nothing_visible(tmp_path: Path) -> None:
    code = "import os, aef_core, companion; print(os.listdir('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def faults_of_notebook(path: Path, notebook: NotebookNode) -> Iterator[str]:
    """What a reader would stumble over: size, order, a missing header, long or failed cells."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if path.stat().st_size >= 1.5e6:
        yield "1.5 MB or more"
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        yield "cells were not run in order"
    if not any("parameters" in c.metadata.get("tags", []) for c in code):
        yield "no cell tagged `parameters`"
    head = notebook.cells[0].source
    if not head.startswith("# "):
        yield "no title"
    yield from (
        f"no {word}"
        for word in ("**Question.**", "**The paper's claim.**", "**Cost.**")
        if word not in head
    )
    for n, cell in enumerate(code, 1):
        if len(cell.source.splitlines()) > 16:
            yield f"cell {n} has more than 16 lines"
        if any(o.output_type == "error" for o in cell.outputs):
            yield f"cell {n} failed"
        if "def " in cell.source:
            yield f"cell {n} defines something: definitions live in the companion"


def test_notebooks_are_run_in_order_short_and_small() -> None:
    assert NOTEBOOKS
    read = {path: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
    for notebook in read.values():
        nbformat.validate(notebook)
    faults = offenders(
        f"{path.stem}: {fault}"
        for path, notebook in read.items()
        for fault in faults_of_notebook(path, notebook)
    )
    assert not faults, faults


def faults_of_figure(picture: Path) -> Iterator[str]:
    """A figure lies beside its vector twin and a sidecar with the numbers of a real run."""
    if not picture.with_suffix(".pdf").exists():
        yield "no PDF"
    sidecar = json.loads(picture.with_suffix(".json").read_text())
    yield from (f"no {part}" for part in ("config", "data", "versions") if part not in sidecar)
    # drawn from a notebook's runs, or from a kept experiment that no profile changes
    config = sidecar.get("config", {})
    if config.get("profile", config.get("experiment")) in (None, "smoke"):
        yield "of no profile, or of smoke"


def test_every_figure_comes_with_its_numbers() -> None:
    pictures = sorted((REPOSITORY / "figures").glob("*.png"))
    assert pictures
    faults = offenders(f"{p.name}: {fault}" for p in pictures for fault in faults_of_figure(p))
    assert not faults, faults


def test_the_lints_see_what_they_look_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent module, an undocumented function and a notebook out of order are all listed."""
    monkeypatch.setitem(globals(), "REPOSITORY", tmp_path)
    module = tmp_path / "silent.py"
    module.write_text("def public(): ...\ndef _private(): ...\n")
    assert list(undocumented(module)) == ["silent.py", "silent.py:1 public"]
    cell = nbformat.v4.new_code_cell("def f(): ...", execution_count=2)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    (path := tmp_path / "n.ipynb").write_text("{}")
    faults = list(faults_of_notebook(path, notebook))
    assert len(faults) == 7, faults
