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

PACKAGE = REPOSITORY / "aef_core"
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_modules_are_short_and_name_no_device(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    assert ".cuda(" not in text
    assert '"cuda:0"' not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_public_functions_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "module without docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def imports(path: Path) -> set[str]:
    nodes = ast.parse(path.read_text()).body
    return {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}


def test_imports_point_one_way() -> None:
    """The loop and the metrics receive models and faces; plots never see a network."""
    rules = (PACKAGE / "weighting").glob("*.py")
    for path in (PACKAGE / "perturbation.py", PACKAGE / "metrics.py", *rules):
        assert not imports(path) & {"aef_core.zoo", "aef_core.runs"}, path.name
    for path in (PACKAGE / "plots").glob("*.py"):
        assert not {i for i in imports(path) if "generators" in i or "zoo" in i}, path.name
    for folder in (".", "plots", "studies", "claims", "weighting", "methods", "widgets"):
        for path in (PACKAGE / folder).glob("*.py"):
            assert not {i for i in imports(path) if "training" in i}, path.name


def test_importing_does_nothing_visible(tmp_path: Path) -> None:
    code = "import os, aef_core; print(os.listdir('.'))"
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
        assert "def " not in cell.source, "definitions live in aef_core"


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
