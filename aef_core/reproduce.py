"""`make reproduce`: run the notebooks in order and print the results table."""

import base64
import io
import os
import time
from pathlib import Path

import nbformat
import papermill
from PIL import Image
from tqdm.auto import tqdm

from aef_core.config import REPOSITORY, get_profile, home

FIRST_EXTENSION = 6  # notebooks below are the tour, from here on the extensions
WIDEST, PAGE = 1400, 1100  # pixels: wider pictures are stored a page wide
WIDGET = "application/vnd.jupyter.widget-view+json"


def tour(extensions: bool = False, folder: Path = REPOSITORY / "notebooks") -> list[Path]:
    """The numbered notebooks in reading order: the tour, and on request the extensions."""
    numbered = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    return [p for p in numbered if extensions or int(p.name[:2]) < FIRST_EXTENSION]


def reproduce_all(profile: str, store: bool = False, extensions: bool = False) -> None:
    """Execute the notebooks with `profile`; copies go to `<home>/notebooks/<profile>`.

    Parameters
    ----------
    profile : str
        One of `config.PROFILES`.
    store : bool
        The executed copies also replace the notebooks of the repository.
    extensions : bool
        Every notebook, not only the tour.

    Raises
    ------
    papermill.PapermillExecutionError
        A cell failed; the message names notebook and cell, the copy shows it.
    """
    os.environ["AEF_PROFILE"] = get_profile(profile).name  # the kernels inherit it
    out = home() / "notebooks" / profile
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    notebooks = tour(extensions)
    for notebook in tqdm(notebooks, desc="notebooks", unit="notebook"):
        tqdm.write(notebook.name)
        papermill.execute_notebook(
            notebook, out / notebook.name, cwd=notebook.parent, progress_bar=True
        )
        if store:
            keep_outputs(out / notebook.name, notebook)
    print((home() / f"results-{profile}.txt").read_text())
    minutes = (time.perf_counter() - started) / 60
    print(f"{len(notebooks)} notebooks in {minutes:.1f} minutes; executed copies in {out}")


def keep_outputs(executed: Path, stored: Path) -> None:
    """Store an executed notebook without what only meant something while it ran.

    Progress bars, times and the runner's notes go; sources, results and figures stay. Of a view of
    `aef_core.widgets` its picture stays: without a kernel nothing answers its controls.
    """
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata = {
        k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")
    }
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags" and v}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if _lasts(o.get("data", {}))]
            for data in (o.get("data", {}) for o in cell.outputs):
                if "image/png" in data:
                    data["image/png"] = _lighter(data["image/png"])
    nbformat.write(notebook, stored)


def _lasts(data: dict) -> bool:
    """Take the live widget out of an output's data; is it worth keeping then?"""
    was_widget = data.pop(WIDGET, None) is not None
    return not was_widget or "image/png" in data


def _lighter(png: str) -> str:
    """A picture in base64, without transparency and at most a page wide."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    flat = paper.convert("RGB")
    if flat.width > WIDEST:
        height = round(flat.height * PAGE / flat.width)
        flat = flat.resize((PAGE, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    flat.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()
