"""Rules of the house that no linter knows."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from aef_core.config import REPOSITORY
from aef_core.weighting import RULES

PACKAGES = (REPOSITORY / "aef_core", REPOSITORY / "notebooks" / "companion")
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_modules_are_short_and_name_no_device(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    assert ".cuda(" not in text
    assert '"cuda:0"' not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_public_functions_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "module without docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_importing_does_nothing_visible(tmp_path: Path) -> None:
    code = "import os, aef_core, companion; print(os.listdir('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_run_in_order_short_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1.5e6
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert any("parameters" in c.metadata.get("tags", []) for c in code)
    assert notebook.cells[0].source.startswith("# ")
    for word in ("**Question.**", "**The paper's claim.**", "**Cost.**"):
        assert word in notebook.cells[0].source
    for cell in code:
        assert len(cell.source.splitlines()) <= 16
        assert not [o for o in cell.outputs if o.output_type == "error"]
        assert "def " not in cell.source, "definitions live in the companion"


def test_every_figure_comes_with_its_numbers() -> None:
    pictures = sorted((REPOSITORY / "figures").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.with_suffix(".pdf").exists()
        sidecar = json.loads(picture.with_suffix(".json").read_text())
        assert {"config", "data", "versions"} <= set(sidecar)
        # drawn from a notebook's runs, or from a kept experiment that no profile changes
        made = sidecar["config"].get("profile", sidecar["config"].get("experiment"))
        assert made not in (None, "smoke"), picture.name


def test_the_readme_names_every_rule_notebook_and_command() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for word in (*RULES, *(n.stem for n in NOTEBOOKS), "make reproduce", "make test"):
        assert word in readme, f"README.md does not mention {word}"
