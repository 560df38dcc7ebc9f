"""Files appear whole or not at all, whatever ends the program in between."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aef_core.errors import NotWritable


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces it on leaving.

    If the block raises, `path` stays as it was and the temporary file is gone.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write `<stem><suffix>`, or `<stem>-2<suffix>`, ... where that is taken; returns its path.

    Written aside, then given its name: no other file is touched.

    Raises
    ------
    NotWritable
        The folder cannot be made or written to.
    """
    aside = folder / f".{secrets.token_hex(6)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        number = 1
        while True:
            path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            try:
                _name_once(aside, path)
                return path
            except FileExistsError:
                number += 1
    except OSError as error:
        raise _not_writable(folder, error) from None
    finally:
        with suppress(OSError):
            aside.unlink()


def _name_once(aside: Path, path: Path) -> None:
    """Give a file its name, or raise `FileExistsError` where that is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a memory card's file system has no links: take the name, then fill it
        path.open("xb").close()
        os.replace(aside, path)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before minutes are spent on its content.

    Raises
    ------
    NotWritable
    """
    probe = folder / f".{secrets.token_hex(6)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _not_writable(folder, error) from None


def _not_writable(folder: Path, error: OSError) -> NotWritable:
    return NotWritable(f"{folder} cannot be written to ({error.strerror}): name another")
