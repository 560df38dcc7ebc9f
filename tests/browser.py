"""Where tests find a browser: an installed Chromium or Playwright's own, cut off from the net."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 480  # seconds for one stage, on a machine that has other things to do
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def outside(url: str) -> bool:
    """Whether an address lies beyond this machine."""
    return "//127.0.0.1" not in url and not url.startswith(("blob:", "data:", "file:"))


@contextmanager
def browser_page(patience: float = PATIENCE) -> Iterator:
    """A page of headless Chromium that reaches nothing but this machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        own = playwright.chromium.executable_path
        if not found and not Path(own).exists():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)}, nor Playwright's own")
        browser = playwright.chromium.launch(
            executable_path=found or own, args=["--no-sandbox"], timeout=PATIENCE * 1000
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.set_default_timeout(patience * 1000)
        page.route(outside, lambda route: route.abort())
        yield page
        browser.close()
