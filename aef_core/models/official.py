"""Fetching the official checkpoints that can be fetched, and checking what arrived."""

import shutil
import tarfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from zlib import error as ZlibError

from aef_core.atomic import replacement
from aef_core.errors import AEFError, BadInput
from aef_core.models.weights import BadCheckpoint
from aef_core.models.zoo import OFFICIAL, read_official

TIMEOUT = 60  # seconds without an answer
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
    is not what it should be nothing is kept; a file that does not load is fetched again.
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
        except (OSError, HTTPException, tarfile.TarError, EOFError, ZlibError, AEFError) as error:
            missing.append(name)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            print(f"{name}: {entry.url} did not deliver ({reason}); {entry.cure}")
    return missing


def _download(url: str, path: Path, name: str) -> None:
    """Keep one member of an archive; the file appears whole and checked, or not at all."""
    _check_scheme(url)
    with (
        urllib.request.build_opener(_HttpsOnly).open(url, timeout=TIMEOUT) as answer,
        tarfile.open(fileobj=answer, mode="r|*") as archive,
        replacement(path) as partial,
    ):
        member = next((m for m in archive if Path(m.name).name == path.name), None)
        if member is None or not member.isfile() or member.size > LARGEST:
            raise tarfile.TarError(f"no {path.name} below 2 GiB in the archive")
        with archive.extractfile(member) as packed, partial.open("wb") as file:
            shutil.copyfileobj(packed, file)
        try:
            read_official(partial, name)
        except BadCheckpoint as error:
            raise BadCheckpoint(str(error).replace(str(partial), url)) from None
