"""`make reproduce`: run the notebooks in order and print the results table."""

import os
import time

import papermill
from tqdm.auto import tqdm

from aef_core.config import REPOSITORY, get_profile, home


def reproduce_all(profile: str) -> None:
    """Execute every notebook with `profile`; copies go to `<home>/notebooks/<profile>`.

    Raises
    ------
    papermill.PapermillExecutionError
        A cell failed; the message names notebook and cell, the copy shows it.
    """
    os.environ["AEF_PROFILE"] = get_profile(profile).name  # the kernels inherit it
    out = home() / "notebooks" / profile
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    notebooks = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    for notebook in tqdm(notebooks, desc="notebooks", unit="notebook"):
        tqdm.write(f"{notebook.name} ...")
        papermill.execute_notebook(
            notebook, out / notebook.name, cwd=notebook.parent, progress_bar=True
        )
    print((home() / f"results-{profile}.txt").read_text())
    minutes = (time.perf_counter() - started) / 60
    print(f"{len(notebooks)} notebooks in {minutes:.1f} minutes; executed copies in {out}")
