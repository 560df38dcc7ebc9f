"""Errors that a user can cause, and mend: one line that names the culprit and the cure.

The command line prints an `AEFError` without its traceback; whatever else is raised is a fault of
this package and keeps it. Each kind is also the builtin that callers expect.
"""

CUT_FILE = ("PytorchStreamReader", "unexpected EOF", "corrupt")


class AEFError(Exception):
    """Something the user can mend; the message says what and how."""


class BadInput(AEFError, ValueError):
    """A value, name or file that cannot be used."""


class NotFound(AEFError, FileNotFoundError):
    """A file or folder that is not there."""


class NotWritable(AEFError, OSError):
    """A file that cannot be written: a full disk, or no permission."""


def is_damaged_file(error: Exception) -> bool:
    """Whether `torch.load` complains of its file: any RuntimeError of its own reads otherwise."""
    return not isinstance(error, RuntimeError) or any(word in str(error) for word in CUT_FILE)
