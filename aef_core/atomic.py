"""Files and folders that appear whole or not at all, whatever stops the process that writes them.

Whatever is written is made in a fresh private folder beside its place, so that nobody can have
planted a link there and two writers never share a name; brought to the disk; and renamed. While it
lives, the writer holds a lock on that folder: one without a lock was left by a killed process.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from aef_core.errors import AEFError, NotFound, NotWritable

PREFIX = ".aef-"  # of the private folders


@contextmanager
def replacement(path: str | Path) -> Iterator[Path]:
    """Where to make a file or folder that takes the place of `path` once the block has ended well.

    `with replacement(path) as temporary: table.to_csv(temporary)`. Missing parents are made; a
    link at `path` is replaced, not followed; an error leaves `path` as it was.

    Raises
    ------
    NotWritable
        A full disk, no permission, or something else lies at `path`.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _private_folder(path.parent) as folder:
            temporary = folder / path.name
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync_entry(path.parent)
    except OSError as error:
        if isinstance(error, AEFError):
            raise
        reason = error.strerror or str(error)
        raise NotWritable(f"{path} cannot be written ({reason}): make room there") from error


def write_text(path: str | Path, text: str) -> None:
    """The whole text at `path`, or what was there before; raises `NotWritable`."""
    with replacement(path) as temporary:
        temporary.write_text(text)


def write_bytes(path: str | Path, content: bytes) -> None:
    """The whole content at `path`, or what was there before; raises `NotWritable`."""
    with replacement(path) as temporary:
        temporary.write_bytes(content)


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write `<stem><suffix>`, or `<stem>-2<suffix>`, ... where that is taken; returns its path.

    Written aside, then given its name: no other file is touched.

    Raises
    ------
    NotWritable
        The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _private_folder(folder) as private:
            aside = private / "new"
            aside.write_bytes(content)
            _sync(aside)
            for number in count(1):
                path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
                with suppress(FileExistsError):
                    _name_once(aside, path)
                    return path
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWritable(f"{folder} cannot be written to ({reason}): name another") from None


def _name_once(aside: Path, path: Path) -> None:
    """Give a file its name, or raise `FileExistsError` where that is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a memory card's file system has no links: take the name, then fill it
        path.open("xb").close()
        os.replace(aside, path)


def check_writable(folder: Path, size: int = 1) -> None:
    """Write `size` bytes in a folder and take them away again: better now than after the work.

    Raises
    ------
    NotWritable
        They do not fit, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _private_folder(folder) as private:
            (private / "probe").write_bytes(bytes(size))
            _sync(private / "probe")
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWritable(
            f"{folder} cannot take {size / 1e6:.1f} MB ({reason}): make room there, or name another"
        ) from error


def remove_leaks(folder: Path) -> None:
    """Remove what killed processes left in a folder and the folders in it; live writers stay."""
    for pattern in (f"{PREFIX}*", f"*/{PREFIX}*"):
        for leak in folder.glob(pattern):
            with suppress(OSError):
                handle = os.open(leak, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(leak, ignore_errors=True)
                finally:
                    os.close(handle)


@contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    handle = None
    while handle is None:  # again where `remove_leaks` came between making and locking it
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            handle = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder: Path) -> int:
    """An open handle of a folder with a lock on it; NotFound if it is gone meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):  # a file system without locks: then `remove_leaks` removes nothing
        fcntl.flock(handle, fcntl.LOCK_EX)
    if not folder.is_dir():
        os.close(handle)
        raise NotFound(f"{folder}: removed meanwhile")
    return handle


def _sync(path: Path) -> None:
    """Bring a file, or a folder with all in it, from memory to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
        _sync_entry(path)
    else:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _sync_entry(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems cannot, and need not
            os.fsync(handle)
    finally:
        os.close(handle)
