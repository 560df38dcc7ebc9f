"""Evaluations of runs, each made once and kept in its run's folder."""

import hashlib
import io
from itertools import product
from pathlib import Path

import pandas as pd

from aef_core.atomic import check_writable
from aef_core.errors import BadInput
from aef_core.metrics.evaluation import TABLE_FORMAT, Evaluator
from aef_core.models.base import fingerprint
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.store import Run, damage_at, read_sealed, run_hash, write_sealed

WORDS = ("image", "model", "edit", "outcome")
COLUMNS = {*WORDS, "l2_mask", "interrupted", "excluded", "survives", "psnr", "ssim"}


def evaluate_run(
    run: Run, evaluator: Evaluator, budget: Budget = BOX, detect: bool = False
) -> pd.DataFrame:
    """The evaluation of a run as of `Evaluator`, found again for the same delta, zoo and faces.

    `budget` is the one the run was made with: it decides what of delta a photo receives.

    Raises
    ------
    DamagedRun
        The kept table was changed, cut or renamed, or has not these columns and rows.
    NotWritable
        The run's folder takes no files; found before the work.
    """
    added = budget.added(evaluator.faces.images, run.delta)
    if run.path is None:
        return evaluator(added, detect)
    key = {
        "run": run.path.name,
        "added": hashlib.sha256(added.detach().cpu().contiguous().numpy()).hexdigest(),
        "zoo": {name: fingerprint(model) for name, model in evaluator.zoo.items()},
        "faces": evaluator.faces.fingerprint(),
        "format": TABLE_FORMAT,
        "detect": detect,
    }
    path = run.path / f"evaluation-{run_hash(key)}.csv"
    if not (path.exists() or path.is_symlink()):
        check_writable(run.path, 500 * len(_rows(evaluator)))
        table = evaluator(added, detect).to_csv(index=False)
        write_sealed(path, table.encode(errors="surrogateescape"))
    return _load(path, evaluator, detect)


def _rows(evaluator: Evaluator) -> list[tuple[str, str, str]]:
    """Image, model and edit of every row, in the table's order."""
    return [(image, *pair) for pair, image in product(evaluator.pairs, evaluator.faces.names)]


def _load(path: Path, evaluator: Evaluator, detect: bool) -> pd.DataFrame:
    columns = COLUMNS | ({"broken"} if detect else set())
    content = io.BytesIO(read_sealed(path))
    with damage_at(path):
        table = pd.read_csv(
            content, encoding_errors="surrogateescape", keep_default_na=False,
            dtype=dict.fromkeys(WORDS, str), na_values={key: [""] for key in columns - set(WORDS)},
        )  # fmt: skip
        if set(table) != columns:
            raise BadInput(f"columns {', '.join(table)}")
        if [*zip(table["image"], table["model"], table["edit"], strict=True)] != _rows(evaluator):
            raise BadInput(f"{len(table)} rows that are not faces x edits x generators")
    return table
