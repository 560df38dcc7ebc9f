"""What a user can mend is one line; what is a fault of the package keeps its traceback."""

import ast
from pathlib import Path

import pytest

from aef_core import __main__ as command
from aef_core.config import REPOSITORY
from aef_core.errors import AEFError
from aef_core.faces import load_faces
from aef_core.faces.detection import NoFace
from aef_core.models.weights import BadCheckpoint
from aef_core.perturbation.execution import OutOfMemory
from companion.config import get_profile
from companion.studies.identity import NoEmbedder


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (NoFace, ValueError),
        (OutOfMemory, RuntimeError),
        (NoEmbedder, RuntimeError),
        (BadCheckpoint, RuntimeError),
    ],
)
def test_errors_of_users_have_one_base_and_stay_what_they_were(error: type, builtin: type) -> None:
    assert issubclass(error, AEFError)
    assert issubclass(error, builtin)


def test_mistakes_are_both_ours_and_the_builtin() -> None:
    with pytest.raises(AEFError, match="unknown profile 'huge'") as caught:
        get_profile("huge")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(AEFError, match="nowhere: no such folder or zip") as caught:
        load_faces("celeba", root=Path("nowhere"))
    assert isinstance(caught.value, FileNotFoundError)


def fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def app(**_: object) -> None:
        raise error

    monkeypatch.setattr(command, "app", app)
    command.main()


def test_the_command_line_tells_our_errors_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"error: photo\.jpg: no face"):
        fails_with(NoFace("photo.jpg: no face"), monkeypatch)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("a bug"), RuntimeError("a bug")])
def test_what_it_does_not_know_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(error), match="a bug"):
        fails_with(error, monkeypatch)


def test_aef_debug_shows_every_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEF_DEBUG", "1")
    with pytest.raises(NoFace):
        fails_with(NoFace("photo.jpg: no face"), monkeypatch)


def raised(path: Path) -> set[str]:
    """Names of the exceptions that a module makes and raises."""
    calls = [n.exc for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Raise)]
    return {c.func.id for c in calls if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}


def test_no_module_raises_a_bare_builtin() -> None:
    bare = {"ValueError", "FileNotFoundError", "RuntimeError", "OSError"}
    offenders = {
        path.relative_to(REPOSITORY).as_posix(): found
        for room in ("aef_core", "notebooks/companion")
        for path in sorted((REPOSITORY / room).rglob("*.py"))
        if (found := raised(path) & bare)
    }
    assert offenders == {}
