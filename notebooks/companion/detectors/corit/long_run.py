"""The long run of notebook 14: nine radii, three seeds, on CelebA; its rows are kept as a table.

    python -m companion.detectors.corit.long_run --celeba ZIP --out collapse.csv

Rows are written after every training, and a second call goes on where the first one stopped.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from aef_core.atomic import write_text
from companion.detectors.corit import study
from companion.detectors.corit.training import train_detector

KEY = ["task", "encoder", "rho", "seed"]


def long_run(bench: study.Bench, out: Path) -> pd.DataFrame:
    """Train what is missing of the grid, row by row; the table as it then is."""
    rows = pd.read_csv(out).to_dict("records") if out.exists() else []
    done = {tuple(row[k] for k in KEY) for row in rows}
    grid = [
        (task, start, rho, seed)
        for task in (study.EDIT, study.TRACE)
        for start in bench.encoders
        for rho in bench.size.radii
        for seed in bench.size.seeds
    ]
    for task, start, rho, seed in grid:
        if (task, start, rho, seed) in done:
            continue
        config = replace(bench.size.sam, rho=rho, seed=seed)
        detector = study.detector_on(bench.encoders[start], bench.tasks[task], seed)
        outcome = train_detector(detector, bench.tasks[task], config)
        rows.append(study.row_of(outcome, task=task, encoder=start))
        write_text(out, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"))
        print(f"{task}, {start}, rho {rho:g}, seed {seed}: AUC {outcome.auc:.3f}", flush=True)
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--celeba", type=Path, help="zip or folder; the embedded faces without it")
    parser.add_argument("--profile", default="paper", choices=list(study.SIZES))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(arguments)
    source = "celeba" if asked.celeba else "embedded"
    long_run(study.open_bench(asked.profile, source, asked.celeba), asked.out)


if __name__ == "__main__":
    main()
