"""Files tied by their first line to their name and checksum: a state, an evaluation."""

import hashlib
from pathlib import Path

from aef_core.atomic import write_bytes
from aef_core.errors import AEFError


class DamagedRun(AEFError, RuntimeError):
    """Something stored is not whole or not what its name says; the message names file and cure."""


def write_sealed(path: Path, content: bytes) -> None:
    """Write content below a line that ties it to the file's name and its own checksum; atomic."""
    write_bytes(path, f"# {path.stem} {sha256(content)}\n".encode() + content)


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` wrote; DamagedRun if it was changed, cut, renamed, or never sealed."""
    cure = "delete it and run again"
    head, _, content = read_bytes(path, cure).partition(b"\n")
    seal = head.decode(errors="replace").split()
    if len(seal) != 3 or seal[0] != "#" or seal[2] != sha256(content):
        raise DamagedRun(f"{path} is damaged (no checksum that fits, or an older format): {cure}")
    if seal[1] != path.stem:
        raise DamagedRun(f"{path} is damaged (it holds {seal[1]}): {cure}")
    return content


def read_bytes(path: Path, cure: str) -> bytes:
    """All of a file that ought to be there; raises `DamagedRun` with the cure."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise DamagedRun(f"{path} is missing or no file: {cure}")
        return path.read_bytes()
    except OSError as error:
        raise DamagedRun(f"{path} cannot be read ({error.strerror}): {cure}") from None


def sha256(content: bytes) -> str:
    """Checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def first_line(error: Exception) -> str:
    """What an error says, without the page that some libraries add."""
    return (str(error) or type(error).__name__).splitlines()[0]
