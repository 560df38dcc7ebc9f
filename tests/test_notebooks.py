"""The notebooks come out the same twice, pictures included.

`make test` runs the others once, with nbval's lax check; these two are held to the strict one.
Stored outputs are the quick profile's, so what a strict run compares with is made here, in smoke.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from aef_core.config import REPOSITORY
from companion import reproduce

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
DETERMINISTIC = ("00_quickstart.ipynb", "01_interruption_imbalance.ipynb")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a home of the first runs and one of the second: either makes the kept set once."""
    return tmp_path_factory.mktemp("homes")


@pytest.mark.slow
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_second_run_prints_and_draws_the_same(
    name: str, homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_PROFILE", "smoke")
    monkeypatch.setenv("AEF_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("AEF_HOME", str(homes / "first"))
    executed = tmp_path / name
    papermill.execute_notebook(REPOSITORY / "notebooks" / name, executed, progress_bar=False)
    strict = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    again = subprocess.run(
        [*strict, "-p", "no:cacheprovider", "-c", os.devnull, str(executed)],
        env=os.environ | {"AEF_HOME": str(homes / "second")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout[-4000:]


def a_notebook(path: Path, source: str) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell(source)], metadata=KERNEL), path)


@pytest.mark.parametrize("asked", [None, "7"])
def test_waiting_threads_soon_sleep_unless_told_otherwise(
    asked: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "import os; open('spin', 'w').write(os.environ['GOMP_SPINCOUNT'])"
    a_notebook(tmp_path / "00_a.ipynb", note)
    monkeypatch.setattr(reproduce, "tour", lambda extensions: [tmp_path / "00_a.ipynb"])
    monkeypatch.setenv("AEF_HOME", str(tmp_path))
    monkeypatch.setenv("AEF_PROFILE", "smoke")
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is taken back afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    if asked:
        monkeypatch.setenv("GOMP_SPINCOUNT", asked)
    (tmp_path / "results-smoke.txt").write_text("the table")
    reproduce.reproduce_all("smoke")
    assert (tmp_path / "spin").read_text() == (asked or reproduce.SPIN)


@pytest.mark.slow
def test_lanes_of_extensions_share_the_cores_and_the_ledger_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    note = "import os; open('order', 'a').write(f\"{} {os.environ.get('OMP_NUM_THREADS')}\\n\")"
    for n in ("00", "06", "07", "10", "12"):
        a_notebook(tmp_path / f"{n}_a.ipynb", note.replace("{}", n, 1))
    notebooks = sorted(tmp_path.glob("*.ipynb"))
    monkeypatch.setattr(reproduce, "tour", lambda extensions: notebooks)
    monkeypatch.setenv("AEF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(reproduce.torch.cuda, "is_available", lambda: False)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "results-smoke.txt").write_text("the table")
    reproduce.reproduce_all("smoke", extensions=True)
    lines = (tmp_path / "order").read_text().split("\n")[:-1]
    assert lines[0] == "00 None"
    assert lines[-1] == "12 None"
    assert set(lines[1:-1]) == {"06 1", "07 1", "10 1"}
    assert lines.index("06 1") < lines.index("10 1")
    assert "5 notebooks in" in capsys.readouterr().out

    a_notebook(tmp_path / "07_a.ipynb", "raise ValueError('the culprit')")
    monkeypatch.setattr(reproduce, "tour", lambda extensions: [tmp_path / "07_a.ipynb"])
    with pytest.raises(SystemExit, match=r"(?s)07_a\.ipynb failed.*the culprit"):
        reproduce.reproduce_all("smoke", extensions=True)
