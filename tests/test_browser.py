"""The interactive notebook as a reader meets it: JupyterLab, a real browser, the keyboard.

Skipped where no Chromium is installed. `AEF_SCREENSHOTS` names a folder to keep the pictures in.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import pytest

from aef_core.config import REPOSITORY

from .browser import PATIENCE, browser_page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

NAME = "05_weight_dynamics.ipynb"
SETTINGS = {
    "apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false"},
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
}


@contextmanager
def jupyterlab(folder: Path, scratch: Path) -> Iterator[str]:
    """JupyterLab over `folder` on a free port of this machine; yields its address with the token.

    Its settings, its kernels' connection files and the runs they make all stay in `scratch`.
    """
    for name, values in SETTINGS.items():
        file = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        f"JUPYTER{part}_DIR": str(scratch / part.strip("_").lower())
        for part in ("_CONFIG", "_DATA", "_RUNTIME", "LAB_SETTINGS", "LAB_WORKSPACES")
    } | {"JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings")}
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    own = {"AEF_PROFILE": "smoke", "AEF_HOME": str(scratch / "runs"), "MPLBACKEND": "agg"}
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=os.environ | places | own, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{address}/api/status?token={token}"), "JupyterLab's start")
            yield f"{address}/lab/tree/{NAME}?token={token}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=10).status == 200
    except (urllib.error.URLError, OSError):
        return False


def kernel_is_ready(address: str) -> bool:
    """Whether the server's only kernel is connected to the page and has nothing to do."""
    server, token = address.split("/lab/")[0], address.split("?token=")[1]
    with urllib.request.urlopen(f"{server}/api/kernels?token={token}", timeout=10) as answer:
        kernels = json.load(answer)
    return [(k["connections"], k["execution_state"]) for k in kernels] == [(1, "idle")]


def wait_for(true, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} took more than {PATIENCE} s")
        time.sleep(0.5)


def run_all(page, address: str, pictures: int) -> None:
    """Open the notebook, run all cells through the menu, wait until every view has a picture."""
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    dialog = page.locator(".jp-Dialog button.jp-mod-accept")

    def ready() -> bool:
        """On a slow machine JupyterLab asks for a kernel, when it likes and over anything."""
        if dialog.count():
            with suppress(sync_api.TimeoutError):
                dialog.first.click(timeout=20_000)
        return kernel_is_ready(address)

    def started() -> bool:
        """Ask for all cells to be run, as often as it takes until a prompt shows that they are."""
        wait_for(ready, "the kernel's start")
        try:  # a dialog in between closes the menu again
            page.locator(".lm-MenuBar-itemLabel:text-is('Run')").click(timeout=20_000)
            page.locator(".lm-Menu-itemLabel:text-is('Run All Cells')").click(timeout=20_000)
        except sync_api.TimeoutError:
            page.keyboard.press("Escape")
            return False
        page.wait_for_timeout(3000)
        return page.locator(".jp-InputPrompt", has_text=re.compile(r"\[[*\d]")).count() > 0

    wait_for(started, "running all cells")

    def done() -> bool:
        errors = page.locator("[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0, errors.first.inner_text()
        drawn = page.locator("img.widget-image[src^='blob:']").count()
        busy = page.locator(".jp-InputPrompt", has_text="[*]").count()
        return drawn == pictures and busy == 0

    wait_for(done, "running the notebook")


def press(page, which: int, key: str, times: int) -> tuple[str, str]:
    """Move the tau slider of a view by keyboard; its picture's address before and after."""
    picture = page.locator("img.widget-image").nth(which)
    before = picture.get_attribute("src")
    slider = page.locator(".widget-hslider:has(.widget-label:text-is('tau'))").nth(which)
    slider.locator(".noUi-handle").focus()
    for _ in range(times):
        page.keyboard.press(key)
    wait_for(lambda: picture.get_attribute("src") != before, "a new picture")
    return before, picture.get_attribute("src")


def keep(page, tmp_path: Path, which: int, name: str) -> Path:
    """A screenshot of the page around a view."""
    folder = Path(os.environ.get("AEF_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.locator("img.widget-image").nth(which).scroll_into_view_if_needed()
    page.screenshot(path=folder / f"{name}.png")
    return folder / f"{name}.png"


@pytest.mark.browser
@pytest.mark.slow
def test_sliders_move_pictures_in_jupyterlab(tmp_path: Path) -> None:
    copy = tmp_path / "notebooks"
    copy.mkdir()
    notebook = nbformat.read(REPOSITORY / "notebooks" / NAME, 4)
    for cell in notebook.cells:  # what shows up later has been run here
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, copy / NAME)
    with browser_page() as page, jupyterlab(copy, tmp_path) as address:
        run_all(page, address, pictures=5)
        caption = page.locator(".widget-html-content p").nth(1)
        said = caption.inner_text()
        before, after = press(page, 1, "ArrowRight", 8)  # the live game: tau from 0.004 upwards
        assert before != after
        wait_for(lambda: caption.inner_text() != said, "a new caption")
        assert "tau 0.0" in caption.inner_text()
        for which, name in enumerate(("replay", "game", "panel", "viewer", "comparer")):
            assert keep(page, tmp_path, which, name).stat().st_size > 20_000
