"""Errors that a user can cause, and mend: one line that names the culprit and the cure.

The command line prints an `AEFError` without its traceback; whatever else is raised is a fault of
this package and keeps it. Each kind is also the builtin that callers expect.
"""

from pathlib import Path

CUT_FILE = ("PytorchStreamReader", "unexpected EOF", "corrupt", "inline_container", "setStorage")


class AEFError(Exception):
    """Something the user can mend; the message says what and how."""


class BadInput(AEFError, ValueError):
    """A value, name or file that cannot be used."""


class NotFound(AEFError, FileNotFoundError):
    """A file or folder that is not there."""


class NotWritable(AEFError, OSError):
    """A file that cannot be written: a full disk, or no permission."""


def must_be_file(path: str | Path, cure: str, kind: str = "file") -> None:
    """Refuse what is not there, folders, and pipes and devices, from which reading would hang.

    Raises
    ------
    NotFound, BadInput
        One line with the path and the cure.
    """
    path = Path(path)
    try:
        if path.is_file():
            return
        if path.is_dir():
            raise BadInput(f"{path} is a folder: {cure}")
        if path.exists():
            raise BadInput(f"{path} is a pipe or a device, no file: {cure}")
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        if isinstance(error, AEFError):
            raise
        raise BadInput(f"{str(path)!r:.80} is no file name: {cure}") from None
    raise NotFound(f"{path}: no such {kind}: {cure}")


def is_damaged_file(error: Exception) -> bool:
    """Whether `torch.load` complains of its file: any RuntimeError of its own reads otherwise."""
    return not isinstance(error, RuntimeError) or any(word in str(error) for word in CUT_FILE)
