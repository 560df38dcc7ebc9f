"""Fetching the official checkpoints that can be fetched, and checking what arrived."""

import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from aef_core.models.zoo import OFFICIAL, BadCheckpoint, OfficialCheckpoint, load_zoo

TIMEOUT = 60  # seconds without an answer


def fetch_official(root: Path) -> None:
    """Download what has a direct address, load it to check it, and name the rest's source.

    Nothing is kept of a download that is not the checkpoint it should be. Failures are reported,
    not raised, so that one dead link does not hide the other checkpoints.
    """
    for name, entry in OFFICIAL.items():
        path = root / entry.file
        try:
            if not path.exists():
                if entry.url is None:
                    print(f"{name}: get {path} by hand from {entry.source}")
                    continue
                _download(entry, path)
            load_zoo("official", root=root, models=[name], device="cpu")
            print(f"{name}: {path} is complete")
        except (urllib.error.URLError, TimeoutError, tarfile.TarError, KeyError) as error:
            print(f"{name}: {entry.url} did not deliver ({error}); get it from {entry.source}")
        except BadCheckpoint as error:
            print(f"{name}: {error}")


def _download(entry: OfficialCheckpoint, path: Path) -> None:
    """Fetch an archive and keep its one member; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    archive, partial = path.with_suffix(".download"), path.with_suffix(".partial")
    try:
        with urllib.request.urlopen(entry.url, timeout=TIMEOUT) as answer:
            archive.write_bytes(answer.read())
        with tarfile.open(archive) as tar:
            member = next((m for m in tar if Path(m.name).name == entry.member), None)
            if member is None:
                raise KeyError(f"no {entry.member} in the archive")
            partial.write_bytes(tar.extractfile(member).read())
        partial.rename(path)
    finally:
        archive.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
