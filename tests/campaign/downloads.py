"""Answers of a server that are not the checkpoint it was asked for."""

import gzip
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from aef_core.errors import BadInput
from aef_core.models import official
from aef_core.models import zoo as zoo_module
from aef_core.models.zoo import OFFICIAL

from ..conftest import tiny_zoo
from . import Case, Harm
from .files import mutated
from .weights import altered, pickles, saved

NAME = "AttentionGAN"
MEMBER = "celeba_256_pretrained/200000-G.ckpt"
Answer = Callable[[BaseHTTPRequestHandler], None]


def archive(content: bytes, name: str = MEMBER, kind: bytes = tarfile.REGTYPE,
            **more: object) -> bytes:  # fmt: skip
    """A tar with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content) if kind == tarfile.REGTYPE else 0
        info.type = kind
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sends(content: bytes, length: int | None = None) -> Answer:
    """Answer with these bytes, and perhaps with another length in the header."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        request.end_headers()
        request.wfile.write(content)

    return answer


def says(code: int, **headers: str) -> Answer:
    """Answer with a status."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def stays_silent(request: BaseHTTPRequestHandler) -> None:
    """Answer nothing for longer than one waits."""
    threading.Event().wait(1.5)


def talks_nonsense(request: BaseHTTPRequestHandler) -> None:
    """Speak no HTTP."""
    request.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 10)


def fetched(answer: Answer, right: bool, scratch: Path) -> bool:
    """Fetch from a server that answers so; nothing but the right file may be there afterwards."""

    class Handler(BaseHTTPRequestHandler):
        do_GET = answer

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    before = official.OFFICIAL, official.SCHEMES, official.TIMEOUT
    url = f"http://127.0.0.1:{server.server_port}/weights.tar.gz"
    small = {"width": 4, "blocks": 1, "image_size": 32}
    entry = replace(OFFICIAL[NAME], url=url, settings=small)
    official.OFFICIAL = zoo_module.OFFICIAL = {NAME: entry}
    official.SCHEMES, official.TIMEOUT = ("http",), 1
    try:
        with redirect_stdout(io.StringIO()) as said:
            missing = official.fetch_official(scratch / "root")
    finally:
        official.OFFICIAL, official.SCHEMES, official.TIMEOUT = before
        zoo_module.OFFICIAL = before[0]
        server.shutdown()
        server.server_close()
    kept = [p for p in scratch.rglob("*") if p.is_file() and p.name != "treasure"]
    if missing:
        if kept:
            raise Harm(f"kept: {kept[0].name}")
        raise BadInput(said.getvalue().strip())
    return right and [p.name for p in kept] == ["200000-G.ckpt"]


def downloads(seed: int, scale: float) -> Iterator[Case]:
    """Archives, members and servers of every bad kind."""
    state = tiny_zoo()[NAME].state_dict()
    good = archive(saved(state))
    yield Case("untouched", partial(fetched, sends(good), True), sound=True)
    odd: dict[str, Answer] = {f"status {code}": says(code) for code in (204, 403, 404, 500, 503)}
    for place in ("ftp://127.0.0.1/x", "file:///etc/passwd", "/weights.tar.gz", "http://[", ""):
        odd[f"sent on to {place!r}"] = says(302, Location=place)
    odd |= {"silence": stays_silent, "no HTTP": talks_nonsense, "nothing": sends(b""),
            "a page": sends(b"<html>quota exceeded</html>"), "half": sends(good[: len(good) // 2]),
            "cut off": sends(good[:1000], len(good)), "no archive": sends(saved(state)),
            "zeros": sends(bytes(10**5)), "only gzip": sends(gzip.compress(b"hello")),
            "a gzip bomb": sends(gzip.compress(bytes(10**8)))}  # fmt: skip
    for name, kind in {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe":
                       tarfile.FIFOTYPE, "device": tarfile.CHRTYPE, "folder":
                       tarfile.DIRTYPE}.items():  # fmt: skip
        odd[f"a {name}"] = sends(archive(b"", kind=kind, linkname="/etc/passwd"))
    odd["other member"] = sends(archive(b"hello", "readme.txt"))
    odd["no member"] = sends(gzip.compress(bytes(10240)))
    odd |= {f"state, {name}": sends(archive(saved(other))) for name, other in altered()}
    odd |= {f"member {name}": sends(archive(content)) for name, content in pickles()}
    other = {k: v.half() for k, v in tiny_zoo()["StarGAN"].state_dict().items()}
    odd["another network"] = sends(archive(saved(other)))
    for name, answer in odd.items():
        yield Case(name, partial(fetched, answer, False), NAME)
    place = partial(fetched, sends(archive(saved(state), "../../200000-G.ckpt")), True)
    yield Case("a path that climbs out", place, NAME)
    draw = np.random.default_rng(seed)
    for name, content in mutated(good, draw, round(5 * scale)):
        yield Case(name, partial(fetched, sends(content), _unpacks(content, good)), NAME)


def _unpacks(content: bytes, good: bytes) -> bool:
    """Does it unpack to the very same? A gzip's own name and time are no part of what it holds."""
    try:
        return gzip.decompress(content) == gzip.decompress(good)
    except Exception:
        return False
