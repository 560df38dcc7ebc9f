"""The command line: what it offers, and what it says of mistakes and missing weights."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aef_core.models import ARCHITECTURES
from aef_core.models.zoo import OFFICIAL

COMMANDS = {
    "aef_core": ("zoo", "optimize", "evaluate", "protect"),
    "companion": ("reproduce", "faces", "bench", "kept"),
}


def command(package: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", package, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", list(COMMANDS))
def test_help_names_the_commands(package: str) -> None:
    done = command(package, "--help")
    assert done.returncode == 0
    for name in COMMANDS[package]:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("companion", "reproduce", "--profile", "huge"),
            "error: unknown profile 'huge'; known: smoke, quick",
        ),
        (("aef_core", "optimize", "--data", "lfw"), "error: source 'lfw' needs a root"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


def test_official_checkpoints_are_checked_one_by_one(tmp_path: Path) -> None:
    """The one that is there is complete; each of the others is told with where to get it."""
    path = tmp_path / OFFICIAL["StarGAN"].file
    path.parent.mkdir()
    torch.save(ARCHITECTURES["StarGAN"]().state_dict(), path)
    done = command("aef_core", "zoo", "--official", str(tmp_path))
    assert done.returncode == 0
    star, *others = done.stdout.splitlines()
    assert star == f"StarGAN: {path} is complete"
    assert [line.partition(":")[0] for line in others] == ["AttentionGAN", "AttGAN", "HiSD"]
    assert all("no such file: get it from" in line for line in others)
