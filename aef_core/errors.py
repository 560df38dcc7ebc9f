"""Errors that a user can cause, and mend: one line that names the culprit and the cure.

The command line prints an `AEFError` without its traceback; whatever else is raised is a fault of
this package and keeps it. Each kind is also the builtin that callers expect.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AEFError(Exception):
    """Something the user can mend; the message says what and how."""

    def __str__(self) -> str:  # one line, whatever characters a path in it has
        return "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__()
        )


class BadInput(AEFError, ValueError):
    """A value, name or file that cannot be used."""


class NotFound(AEFError, FileNotFoundError):
    """A file or folder that is not there."""


class NotWritable(AEFError, OSError):
    """A file that cannot be written: a full disk, or no permission."""


def reason(error: BaseException) -> str:
    """What an error says, without the page that some libraries add."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.splitlines()[0]


@contextmanager
def reading(path: str | Path, cure: str) -> Iterator[None]:
    """Tell in one line what keeps a path from being read: no right to, a name too long, a loop."""
    try:
        yield
    except AEFError:
        raise
    except (OSError, ValueError) as error:
        raise BadInput(f"{path!s:.200} cannot be read ({reason(error)}): {cure}") from None


def must_be_file(path: str | Path, cure: str, kind: str = "file") -> None:
    """Refuse what is not there, folders, and pipes and devices, from which reading would hang.

    Raises `NotFound` or `BadInput`, one line with the path and the cure.
    """
    path = Path(path)
    with reading(path, cure):
        if not path.exists():
            raise NotFound(f"{path}: no such {kind}: {cure}")
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a pipe or a device, no file"
            raise BadInput(f"{path} is {found}: {cure}")
