"""The notebooks come out the same twice, pictures included.

`make test` runs every notebook with nbval's lax check; these two are held to the strict one. Stored
outputs are the quick profile's, so what a strict run compares with is made here, in smoke.
"""

import os
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

from aef_core.config import REPOSITORY

DETERMINISTIC = ("00_quickstart.ipynb", "01_interruption_imbalance.ipynb")


@pytest.mark.slow
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_second_run_prints_and_draws_the_same(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AEF_PROFILE", "smoke")
    monkeypatch.setenv("AEF_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("AEF_HOME", str(tmp_path / "first"))
    executed = tmp_path / name
    papermill.execute_notebook(REPOSITORY / "notebooks" / name, executed, progress_bar=False)
    strict = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    again = subprocess.run(
        [*strict, "-p", "no:cacheprovider", "-c", os.devnull, str(executed)],
        env=os.environ | {"AEF_HOME": str(tmp_path / "second")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout[-4000:]
