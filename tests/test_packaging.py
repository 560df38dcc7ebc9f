"""The promises about the environment: one set of exact pins, nothing tied to one machine."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]
PIN = re.compile(r'([\w.-]+)==([\w.!]+)( ; sys_platform == "linux")?')
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:home|root|Users|work)/\w")


def normal(name: str) -> str:
    """A package name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    return {normal(m[1]): m[2] for m in map(PIN.fullmatch, lines) if m}


def direct_dependencies() -> set[str]:
    wanted = PROJECT["build-system"]["requires"] + PROJECT["project"]["dependencies"]
    return {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in wanted}


def machine_paths(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if MACHINE_PATH.search(line)]


def test_lock_holds_exact_pins_only() -> None:
    """No address, no index option, no `@ file`, no local build such as `+cpu`, no project."""
    assert [line for line in LOCK if not PIN.fullmatch(line)] == []
    assert len(pins(LOCK)) == len(LOCK), "a package is pinned twice"
    assert normal(PROJECT["project"]["name"]) not in pins(LOCK)


def test_linux_only_packages_carry_the_marker() -> None:
    cuda = [line for line in LOCK if line.startswith(("cuda", "nvidia", "triton"))]
    assert cuda, "the lock lost torch's CUDA packages: was it made on Linux?"
    assert [line for line in cuda if not line.endswith('sys_platform == "linux"')] == []


def test_every_direct_dependency_is_pinned() -> None:
    assert direct_dependencies() - pins(LOCK).keys() == set()


def test_conda_environment_holds_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (through_pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    conda = pins(through_pip)
    assert conda == {name: pins(LOCK).get(name) for name in conda}
    assert direct_dependencies() == conda.keys()
    assert [line for line in through_pip if not PIN.fullmatch(line)] == ["-e ."]


def test_the_site_is_pinned_on_top_of_the_lock() -> None:
    """Exact pins of the extra `site` and what it brings, none of them the lock's already."""
    text = (ROOT / "docs" / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    wanted = PROJECT["project"]["optional-dependencies"]["site"]
    assert {normal(re.match(r"[\w.-]+", name)[0]) for name in wanted} <= pins(lines).keys()
    assert pins(lines).keys() & pins(LOCK).keys() == set()


def test_there_is_one_lock() -> None:
    assert [p.name for p in ROOT.glob("*.lock")] == ["requirements.lock"]


def test_ci_runs_what_a_reader_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text().splitlines()


def test_citation_names_the_paper_and_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= {"message", "title", "authors"}
    assert citation["version"] == PROJECT["project"]["version"]
    paper = citation["preferred-citation"]
    assert "2605.00443" in paper["url"]
    assert [a["family-names"] for a in paper["authors"]] == ["Zheng", "Wang", "Guo"]


def test_package_and_metadata_agree_on_the_version() -> None:
    source = (ROOT / "aef_core" / "__init__.py").read_text()
    assert f'__version__ = "{PROJECT["project"]["version"]}"' in source


@pytest.mark.parametrize("folder", ["home", "root", "Users", "work"])
def test_machine_paths_are_seen(folder: str) -> None:
    assert machine_paths(f'root = "/{folder}/someone/data"') != []
    assert machine_paths(f"https://example.org/{folder}/page and a/{folder}/b") == []


def test_no_tracked_file_names_a_machine() -> None:
    if not shutil.which("git"):
        pytest.skip("no git")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    found = {}
    for name in filter(None, listing.stdout.decode().split("\0")):
        try:
            lines = machine_paths((ROOT / name).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or deleted and not yet committed
        if lines:
            found[name] = lines[:3]
    assert found == {}
