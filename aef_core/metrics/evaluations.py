"""Evaluations of runs, each made once and kept in its run's folder."""

import hashlib
import io

import pandas as pd

from aef_core.atomic import check_writable
from aef_core.metrics.evaluation import TABLE_FORMAT, Evaluator
from aef_core.models.base import fingerprint
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.store import Run, damage_at, read_sealed, run_hash, write_sealed

WORDS = ("image", "model", "edit", "outcome")
NUMBERS = ("l2_mask", "interrupted", "excluded", "survives", "psnr", "ssim")


def evaluate_run(run: Run, evaluator: Evaluator, budget: Budget = BOX) -> pd.DataFrame:
    """The evaluation of a run as of `Evaluator`, found again for the same delta, zoo and faces.

    `budget` is the one the run was made with: it decides what of delta a photo receives.

    Raises
    ------
    DamagedRun
        The kept table was changed, cut or renamed.
    NotWritable
        The run's folder takes no files; found before the work.
    """
    added = budget.added(evaluator.faces.images, run.delta)
    if run.path is None:
        return evaluator(added)
    key = {
        "run": run.path.name,
        "added": hashlib.sha256(added.detach().cpu().contiguous().numpy()).hexdigest(),
        "zoo": {name: fingerprint(model) for name, model in evaluator.zoo.items()},
        "faces": evaluator.faces.fingerprint(),
        "format": TABLE_FORMAT,
    }
    path = run.path / f"evaluation-{run_hash(key)}.csv"
    if not (path.exists() or path.is_symlink()):
        check_writable(run.path)
        table = evaluator(added).to_csv(index=False)
        write_sealed(path, table.encode(errors="surrogateescape"))
    content = io.BytesIO(read_sealed(path))
    with damage_at(path):
        return pd.read_csv(
            content, encoding_errors="surrogateescape", keep_default_na=False,
            dtype=dict.fromkeys(WORDS, str), na_values={key: [""] for key in NUMBERS},
        )  # fmt: skip
