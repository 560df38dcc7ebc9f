"""The static site builds without a warning, from the repository as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aef_core.config import REPOSITORY

pytest.importorskip("sphinx", reason="Sphinx is not installed: see docs/requirements.txt")
pytest.importorskip("sphinx_book_theme", reason="see docs/requirements.txt")
pytest.importorskip("myst_nb", reason="see docs/requirements.txt")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c",
               "docs", ".", str(out)]  # fmt: skip
    environment = os.environ | {"AEF_REPOSITORY": "https://github.com/owner/name.git"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_every_page_is_there(site: Path) -> None:
    sources = [*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("notebooks/*.ipynb")]
    assert len(sources) > 20
    pages = [site / path.relative_to(REPOSITORY).with_suffix(".html") for path in sources]
    assert [str(page) for page in pages if not page.exists()] == []
    assert "docs/index.html" in (site / "index.html").read_text()


@pytest.mark.slow
def test_front_page_holds_the_explorer_and_leads_on(site: Path) -> None:
    front = (site / "docs" / "index.html").read_text()
    assert '<iframe class="explorer" src="../explorer.html"' in front
    assert 'href="claims.html"' in front
    assert (site / "_static" / "explorer-frame.js").exists()


@pytest.mark.slow
def test_notebooks_show_stored_pictures_and_can_be_launched(site: Path) -> None:
    page = (site / "notebooks" / "00_quickstart.html").read_text()
    assert "../_images/" in page
    assert "https://mybinder.org/v2/gh/owner/name/main" in page
    assert "https://colab.research.google.com/github/owner/name/blob/main" in page


@pytest.mark.slow
def test_reference_comes_from_docstrings(site: Path) -> None:
    reference = (site / "docs" / "api.html").read_text()
    for name in ("aef_core.optimize", "aef_core.weighting.AEF", "aef_core.metrics.Evaluator"):
        assert f'id="{name}"' in reference, name
