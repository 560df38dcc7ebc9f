"""`make reproduce`: run the notebooks in order and print the results table."""

import base64
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import papermill
import torch
from PIL import Image
from tqdm.auto import tqdm

from aef_core.atomic import replacement
from aef_core.config import REPOSITORY, home
from aef_core.faces.pictures import read_picture, upright
from companion.config import get_profile

FIRST_EXTENSION = 6  # notebooks below are the tour, from here on the extensions
# With the extensions these run side by side, each lane in its order: 14 finds the runs of 08
# again. Not 04, which times and wants the machine for itself; nor 12, which reads what the
# others found.
LANES = (("06", "10"), ("03", "05", "07", "08", "09", "11", "13", "14"))
# How many turns libgomp's threads spin for the others before they sleep. By default they spin
# thirty times as long, so a core that another process has stops both: docs/protocol.md.
SPIN = "10000"
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
        A cell of the tour failed; the message names notebook and cell, the copy shows it.
    SystemExit
        A cell of an extension failed; the same is said.
    """
    os.environ["AEF_PROFILE"] = get_profile(profile).name  # the kernels inherit both
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    out = home() / "notebooks" / profile
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    notebooks = tour(extensions)
    numbered = {n.name[:2]: n for n in notebooks}
    lanes = (
        [[numbered.pop(k) for k in lane if k in numbered] for lane in LANES] if extensions else []
    )
    first = [n for n in numbered.values() if int(n.name[:2]) < FIRST_EXTENSION]
    last = [n for n in numbered.values() if n not in first]
    with tqdm(total=len(notebooks), desc="notebooks", unit="notebook") as progress:

        def run(notebook: Path, how: Callable[[Path, Path], None] = execute) -> None:
            progress.write(notebook.name)
            how(notebook, out / notebook.name)
            if store:
                keep_outputs(out / notebook.name, notebook)
            progress.update()

        for notebook in first:
            run(notebook)
        side_by_side(lanes, run)
        for notebook in last:
            run(notebook)
    print((home() / f"results-{profile}.txt").read_text())
    minutes = (time.perf_counter() - started) / 60
    print(f"{len(notebooks)} notebooks in {minutes:.1f} minutes; executed copies in {out}")


def execute(notebook: Path, copy: Path) -> None:
    """Run a notebook on the whole machine, with a progress bar over its cells."""
    papermill.execute_notebook(notebook, copy, cwd=notebook.parent, progress_bar=True)


def side_by_side(lanes: list[list[Path]], run: Callable[..., None]) -> None:
    """Run lanes of notebooks at once, or one after the other where a GPU or a core is shared.

    Two kernels with half of the cores each get more done than one with all of them: a step on
    small pictures leaves most of a second core idle.
    """
    if not lanes:
        return
    if torch.cuda.is_available() or (os.cpu_count() or 1) < len(lanes):
        for lane in lanes:
            for notebook in lane:
                run(notebook)
        return

    def follow(lane: list[Path]) -> None:
        for notebook in lane:
            run(notebook, execute_on_half)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(follow, lanes))


def execute_on_half(notebook: Path, copy: Path) -> None:
    """Run a notebook in a process of its own, on half of the cores."""
    command = [sys.executable, "-m", "papermill", notebook, copy, "--cwd", notebook.parent]
    half = str(max(1, (os.cpu_count() or 1) // len(LANES)))
    done = subprocess.run(
        [*map(str, command), "--no-progress-bar"],
        env=os.environ | {"OMP_NUM_THREADS": half},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{notebook.name} failed:\n{done.stderr[-4000:]}")


def keep_outputs(executed: Path, stored: Path) -> None:
    """Store an executed notebook without what only meant something while it ran.

    Progress bars, times and the runner's notes go; sources, results and figures stay. Of a view of
    `companion.widgets` its picture stays: without a kernel nothing answers its controls.
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
    with replacement(stored) as temporary:
        nbformat.write(notebook, temporary)


def _lasts(data: dict) -> bool:
    """Take the live widget out of an output's data; is it worth keeping then?"""
    was_widget = data.pop(WIDGET, None) is not None
    return not was_widget or "image/png" in data


def _lighter(png: str) -> str:
    """A picture in base64, without transparency and at most a page wide."""
    picture = upright(read_picture(base64.b64decode(png)), keep_alpha=True).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    flat = paper.convert("RGB")
    if flat.width > WIDEST:
        height = round(flat.height * PAGE / flat.width)
        flat = flat.resize((PAGE, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    flat.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()
