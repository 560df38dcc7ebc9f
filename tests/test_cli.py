"""The command line: what it offers, and what it says of mistakes and missing weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from aef_core import __main__ as library
from aef_core.models import ARCHITECTURES
from aef_core.models.zoo import OFFICIAL
from companion import __main__ as tour

COMMANDS = {
    "aef_core": ("zoo", "optimize", "evaluate", "protect"),
    "companion": ("reproduce", "faces", "bench", "kept"),
}


@pytest.mark.parametrize("package", list(COMMANDS))
def test_help_names_the_commands(package: str) -> None:
    command = [sys.executable, "-m", package, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for name in COMMANDS[package]:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (
            tour.main,
            ("reproduce", "--profile", "huge"),
            "error: unknown profile 'huge'; known: smoke, quick",
        ),
        (library.main, ("optimize", "--data", "lfw"), "error: source 'lfw' needs a root"),
    ],
)
def test_mistakes_are_told_in_one_line(
    main: Callable, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with pytest.raises(SystemExit) as ended:  # with a string: Python prints it and ends with 1
        main()
    assert ended.value.code.startswith(message)
    assert "\n" not in ended.value.code


def test_official_checkpoints_are_checked_one_by_one(tmp_path: Path) -> None:
    """The one that is there is complete; each of the others is told with where to get it."""
    path = tmp_path / OFFICIAL["StarGAN"].file
    path.parent.mkdir()
    torch.save(ARCHITECTURES["StarGAN"]().state_dict(), path)
    done = CliRunner().invoke(library.app, ["zoo", "--official", str(tmp_path)])
    assert done.exit_code == 0
    star, *others = done.stdout.splitlines()
    assert star == f"StarGAN: {path} is complete"
    assert [line.partition(":")[0] for line in others] == ["AttentionGAN", "AttGAN", "HiSD"]
    assert all("no such file: get it from" in line for line in others)
