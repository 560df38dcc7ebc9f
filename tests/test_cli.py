"""The command line, and fetching checkpoints from a real (local) server."""

import dataclasses
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from aef_core.models import ARCHITECTURES, official
from aef_core.models.official import fetch_official
from aef_core.models.zoo import OFFICIAL

COMMANDS = {
    "aef_core": ("faces", "zoo", "fetch", "optimize", "evaluate", "protect"),
    "companion": ("reproduce", "bench", "methods"),
}


def command(package: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", package, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", list(COMMANDS))
def test_help_names_the_commands(package: str) -> None:
    done = command(package, "--help")
    assert done.returncode == 0
    for name in COMMANDS[package]:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("companion", "reproduce", "--profile", "huge"),
            "error: unknown profile 'huge'; known: smoke, quick",
        ),
        (("aef_core", "optimize", "--data", "lfw"), "error: source 'lfw' needs a root"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()
    httpd.server_close()


def archive(path: Path, member: str, content: bytes) -> None:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(f"celeba_256_pretrained/{member}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def serve_from(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    entry = dataclasses.replace(OFFICIAL["AttentionGAN"], url=url)
    monkeypatch.setattr(official, "OFFICIAL", {"AttentionGAN": entry})
    monkeypatch.setattr(official, "SCHEMES", ("http",))


def test_a_checkpoint_is_fetched_unpacked_and_checked(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    url, folder = server
    buffer = io.BytesIO()
    torch.save(ARCHITECTURES["AttentionGAN"]().state_dict(), buffer)
    archive(folder / "weights.tar.gz", "200000-G.ckpt", buffer.getvalue())
    serve_from(monkeypatch, f"{url}/weights.tar.gz")
    assert fetch_official(tmp_path / "root") == []
    assert "is complete" in capsys.readouterr().out
    assert [p.name for p in (tmp_path / "root").rglob("*.*")] == ["200000-G.ckpt"]


@pytest.mark.parametrize("answer", ["page", "other member", "nothing"])
def test_what_is_not_the_checkpoint_is_reported_and_not_kept(
    answer: str, server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    url, folder = server
    if answer == "page":
        (folder / "weights.tar.gz").write_text("<html>quota exceeded</html>")
    elif answer == "other member":
        archive(folder / "weights.tar.gz", "readme.txt", b"hello")
    serve_from(monkeypatch, f"{url}/weights.tar.gz")
    assert fetch_official(tmp_path / "root") == ["AttentionGAN"]
    out = capsys.readouterr().out
    assert "did not deliver" in out
    assert "get it from github.com/Ha0Tang" in out
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_file()]
