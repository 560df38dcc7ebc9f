"""Binder builds the tested environment: the lock, the package, no address of its own."""

import os

from aef_core.config import REPOSITORY

BINDER = REPOSITORY / ".binder"


def test_binder_installs_the_lock_and_the_package() -> None:
    lines = (BINDER / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if not line.startswith("#")]
    assert wanted == ["-r ../requirements.lock"]
    assert (BINDER / "../requirements.lock").exists()
    assert (BINDER / "runtime.txt").read_text().strip() == "python-3.11"
    assert os.access(BINDER / "postBuild", os.X_OK)
    assert "--no-deps" in (BINDER / "postBuild").read_text()


def test_notebooks_favour_no_front_end() -> None:
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        for word in ("%matplotlib", "%config", "google.colab", "tqdm.notebook"):
            assert word not in text, f"{path.name}: {word}"
