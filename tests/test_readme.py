"""The README's code is run and its commands are called, from the README as it stands.

Python blocks run one after another as one script, with fewer faces and steps, and so do commands;
those that take minutes, a network or data of one's own are only parsed, which still
finds an option that is gone. `make` is asked for a dry run.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from PIL import Image

from aef_core import __main__ as library
from aef_core.config import REPOSITORY
from aef_core.faces import load_faces, to_uint8
from companion import __main__ as tour

README = (REPOSITORY / "README.md").read_text()
REFERENCE = (REPOSITORY / "docs" / "library.md").read_text()  # the commands, one page further
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
OURS = re.compile(r"-m (aef_core|companion) (.*)")
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]+")  # RUN, ZIP: the reader puts something in
SMALLER = {"steps": 1, "n": 2}  # the most a Python block gets, whatever it asks for
FEWER = {"optimize": ("--steps", "1", "--faces", "2"), "protect": ("--steps", "1"),
         "evaluate": ("--faces", "2")}  # fmt: skip
APPS = {"aef_core": library.app, "companion": tour.app}
MAINS = {"aef_core": library.main, "companion": tour.main}
LONG = {"reproduce", "bench", "methods", "faces"}  # minutes
USAGE_ERROR = typer.BadParameter.__base__  # of an unknown option and a missing argument, too


class Command(NamedTuple):
    """`python -m PACKAGE NAME ARGUMENTS...` as the README has it."""

    package: str
    name: str
    arguments: list[str]

    def __str__(self) -> str:
        return shlex.join((self.package, self.name, *self.arguments))


def script(text: str) -> str:
    """All Python blocks as one file whose line numbers are the README's, made smaller."""
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        if block[1].strip() == "python":
            first = text[: block.start(2)].count("\n")
            body = block[2].splitlines()
            lines[first : first + len(body)] = body
    source = "\n".join(lines)
    for name, most in SMALLER.items():
        source = re.sub(rf"\b{name}=(\d+)", lambda m, n=name, k=most: f"{n}={min(int(m[1]), k)}",
                        source)  # fmt: skip
    return source


def commands(text: str) -> list[Command]:
    """Every call of our two packages, in a block or in the running text."""
    inside = [line for block in FENCE.finditer(text) for line in block[2].splitlines()]
    inside += INLINE.findall(FENCE.sub("", text))
    calls = [found for line in inside if (found := OURS.search(line)) and "COMMAND" not in found[2]]
    split = [(found[1], shlex.split(found[2], comments=True)) for found in calls]
    return [Command(package, name, rest) for package, (name, *rest) in split]


def parsed(command: Command) -> None:
    """Let typer read the command line without running it; it raises on what it does not know."""
    group = typer.main.get_command(APPS[command.package])
    context = group.make_context(command.package, [command.name, *command.arguments])
    group.commands[command.name].make_context(command.name, command.arguments, parent=context)


def is_run(command: Command) -> bool:
    own_data = any(PLACEHOLDER.fullmatch(a) and a != "RUN" for a in command.arguments)
    return command.name not in LONG and not own_data


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder. All runs in this process: another would load torch each time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEF_PROFILE", "smoke")
    return tmp_path


def put_photo(path: Path) -> None:
    """A photo with one face in the middle."""
    face = to_uint8(load_faces(split="test", n=1).images)[0].permute(1, 2, 0).numpy()
    photo = Image.new("RGB", (600, 500), "white")
    photo.paste(Image.fromarray(face).resize((400, 400)), (100, 50))
    photo.save(path)


def test_there_is_something_to_run_and_nothing_escapes() -> None:
    assert script(README).strip(), "README.md has no Python block"
    found = commands(README + REFERENCE)
    assert {c.name for c in found if is_run(c)} >= {"optimize", "evaluate", "protect"}
    calls = re.findall(r"python3? -m (?:aef_core|companion) (?!COMMAND)", README + REFERENCE)
    assert len(found) >= len(calls), "a call lies outside blocks and code spans"


def test_python_blocks_run(empty: Path) -> None:
    (empty / "README.py").write_text(script(README))
    assert runpy.run_path("README.py", run_name="__main__")


def test_commands_run(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """In the README's order: RUN is the run that the last `optimize` named."""
    run = "RUN"
    for command in filter(is_run, commands(README + REFERENCE)):
        for word in command.arguments:
            if Path(word).suffix in (".jpg", ".png"):
                put_photo(empty / word)
        arguments = [run if a == "RUN" else a for a in command.arguments]
        arguments += FEWER.get(command.name, ())
        monkeypatch.setattr(sys, "argv", [command.package, command.name, *arguments])
        with pytest.raises(SystemExit) as ended:
            MAINS[command.package]()
        assert not ended.value.code, f"{command}: {ended.value.code}"
        printed = capsys.readouterr().out
        assert printed, f"{command} printed nothing"
        if made := re.search(r"evaluate (\w+)", printed):
            run = made[1]


@pytest.mark.parametrize("command", commands(README + REFERENCE), ids=str)
def test_commands_are_understood(command: Command) -> None:
    parsed(command)


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_knows_its_targets() -> None:
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", "\n".join(INLINE.findall(README))))
    targets |= set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert {"reproduce", "test"} <= targets
    done = subprocess.run(
        ["make", "--dry-run", *sorted(targets)], cwd=REPOSITORY, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere_and_to_every_notebook() -> None:
    """A notebook is linked from the README, or from a page that the README links."""
    links = set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README))
    inside = {REPOSITORY / link for link in links if "://" not in link}
    assert inside
    assert [path for path in inside if not path.exists()] == []
    pages = [README, *(path.read_text() for path in inside if path.suffix == ".md")]
    notebooks = {path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    assert {name for name in notebooks if not any(name in page for page in pages)} == set()


BROKEN = """
```python
import math
math.no_such_thing(steps=60, n=1)
```

```
.venv/bin/python -m companion bench --no-such-option   # says how fast
```
and `python -m aef_core evaluate`
"""


def test_a_broken_readme_fails(empty: Path) -> None:
    (empty / "README.py").write_text(script(BROKEN))
    with pytest.raises(AttributeError, match="no_such_thing") as error:
        runpy.run_path("README.py", run_name="__main__")
    last = error.traceback[-1]
    assert (last.path.name, last.lineno + 1) == ("README.py", 4)
    assert "(steps=1, n=1)" in script(BROKEN)
    bench, evaluate = commands(BROKEN)
    for command, message in ((bench, "no-such-option"), (evaluate, "(?i)missing")):
        with pytest.raises(USAGE_ERROR, match=message):
            parsed(command)
