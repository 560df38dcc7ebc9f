"""Files and folders that appear whole or not at all, whatever stops the process that writes them.

What is to be written is first made in a fresh private folder beside its place: nobody can have
planted a link there, and two writers never share a name. It is synced to the disk, then renamed.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from aef_core.errors import AEFError, NotWritable, reason

PREFIX = ".aef-"  # of the private folders
ABANDONED = 86_400  # seconds; a writer needs its folder for a few


@contextmanager
def replacement(path: str | Path) -> Iterator[Path]:
    """A temporary path for a file or folder; it replaces `path` when the block ends without error.

    `with replacement(path) as temporary: table.to_csv(temporary)`. Missing parents are made. A link
    at `path` is replaced, not followed. An error in the block leaves `path` as it was.

    Raises
    ------
    NotWritable
        A full disk, no permission, or something else lies at `path`.
    """
    path = Path(path)
    with _private_folder(path.parent, f"{path} cannot be written", "make room there") as folder:
        temporary = folder / path.name
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync_entries(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a text to `path` as a whole; what was there stays if that fails (`NotWritable`)."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes to `path` as a whole; what was there stays if that fails (`NotWritable`)."""
    with replacement(path) as temporary:
        temporary.write_bytes(content)


def write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write `<stem><suffix>`, or `<stem>-2<suffix>`, ... where that is taken; returns its path.

    Written aside, then given its name: no other file is touched. Raises `NotWritable`.
    """
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    with _private_folder(folder, f"{folder} cannot be written to", "name another") as private:
        aside = private / "new"
        aside.write_bytes(content)
        _sync(aside)
        return next(p for name in names if _named(aside, p := folder / f"{name}{suffix}"))


def _named(aside: Path, path: Path) -> bool:
    """Give a file its name, unless that is taken."""
    with suppress(FileExistsError):
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError:  # a memory card's file system has no links: take the name, then fill it
            path.open("xb").close()
            os.replace(aside, path)
        return True
    return False


def check_writable(folder: Path) -> None:
    """Try to write a file in a folder, before work is done whose result would go there.

    Raises `NotWritable` where the folder cannot be made or written to, or the disk is full.
    """
    cure = "make room there, or name another"
    with _private_folder(folder, f"{folder} cannot take a file", cure) as private:
        (private / "probe").write_bytes(bytes(1))
        _sync(private / "probe")


def remove_leaks(folder: Path) -> None:
    """Remove private folders that killed processes left, a day ago or more, here or one deeper."""
    for leak in [*folder.glob(f"{PREFIX}*"), *folder.glob(f"*/{PREFIX}*")]:
        with suppress(OSError):  # another process was first
            if time.time() - leak.lstat().st_mtime > ABANDONED:
                shutil.rmtree(leak, ignore_errors=True)  # a link it leaves alone


@contextmanager
def _private_folder(parent: Path, failure: str, cure: str) -> Iterator[Path]:
    """A fresh folder that goes with the block; an `OSError` in it becomes `NotWritable`."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except AEFError:
        raise
    except OSError as error:
        raise NotWritable(f"{failure} ({reason(error)}): {cure}") from error


def _sync(path: Path) -> None:
    """Bring a file, or a folder with all in it, from memory to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
        _sync_entries(path)
    else:
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _sync_entries(folder: Path) -> None:
    with suppress(OSError):  # Windows opens no folder; some file systems cannot, and need not
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
