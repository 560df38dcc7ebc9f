"""Fetching the official checkpoints that can be fetched, and checking what arrived."""

import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO
from zlib import error as ZlibError

from aef_core.atomic import replacement
from aef_core.errors import AEFError, BadInput, reason
from aef_core.models.weights import BadCheckpoint
from aef_core.models.zoo import OFFICIAL, read_official

TIMEOUT = 60  # seconds without an answer
CHUNK = 2**20
LARGEST = 2**31  # bytes of a checkpoint; the public ones have 50 to 300 MB
SCHEMES = ("https",)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """An address that sends us on to an open line is refused."""

    def redirect_request(self, *arguments: object) -> urllib.request.Request | None:
        _check_scheme(str(arguments[-1]))
        return super().redirect_request(*arguments)


def _check_scheme(url: str) -> None:
    if url.partition("://")[0] not in SCHEMES:
        raise BadInput(f"{url} is no https address")


def fetch_official(root: Path) -> list[str]:
    """Download what has an address, check it by loading; returns the names still missing.

    Prints a line a checkpoint, so that one dead link does not hide the others. Of a download that
    is not what it should be nothing is kept; a file that does not load is fetched again. Only https
    is spoken. Nobody has published checksums: what is pinned (`sha256` in the zoo's table, nothing
    so far) is compared, the rest only loaded. AttentionGAN's address is unverified.
    """
    missing = []
    for name, entry in OFFICIAL.items():
        path = root / entry.file
        try:
            try:
                read_official(path, name)
            except BadCheckpoint:
                if entry.url is None:
                    raise
                _download(entry.url, path, name)
            print(f"{name}: {path} is complete")
        except BadCheckpoint as error:
            missing.append(name)
            print(f"{name}: {error}")
        except (OSError, HTTPException, tarfile.TarError, EOFError, ZlibError, ValueError,
                AEFError) as error:  # fmt: skip
            missing.append(name)
            print(f"{name}: {entry.url} did not deliver ({reason(error)}); {entry.cure}")
    return missing


def _download(url: str, path: Path, name: str) -> None:
    """Keep one member of an archive; the file appears whole and checked, or not at all."""
    _check_scheme(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_HttpsOnly)
    with tempfile.TemporaryFile(dir=path.parent) as archive, replacement(path) as partial:
        with opener.open(url, timeout=TIMEOUT) as answer:
            _copy(answer, archive.write)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            member = next((m for m in tar if Path(m.name).name == path.name), None)
            if member is None or not member.isfile():
                raise tarfile.TarError(f"no {path.name} in the archive")
            with tar.extractfile(member) as packed, partial.open("wb") as file:
                _copy(packed, file.write)
            _copy(tar.fileobj, len)  # nowhere, but to the end, where gzip's checksum is
        try:
            read_official(partial, name)
        except BadCheckpoint as error:
            raise BadCheckpoint(str(error).replace(str(partial), url)) from None


def _copy(source: IO[bytes], write: Callable[[bytes], int]) -> None:
    """In pieces, up to `LARGEST` bytes."""
    for _ in range(LARGEST // CHUNK):
        piece = source.read(CHUNK)
        if not piece:
            return
        write(piece)
    raise tarfile.TarError(f"more than {LARGEST >> 30} GiB")
