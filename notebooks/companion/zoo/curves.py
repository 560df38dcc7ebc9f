"""The table of notebook 09, from what the trainer printed at its checkpoints.

    python -m companion.zoo.curves LOG... [--without LOG]

A log counts for the arm of its generator's recipe: with an identity term if unedited copies have a
weight. `--without` names logs of trainings in which that weight was 0.
"""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from aef_core.atomic import write_text
from aef_core.errors import BadInput
from companion.studies.curves import CURVES, WITH, WITHOUT
from companion.zoo.recipes import RECIPES

COLUMNS = ["model", "arm", "images", "L2_mask", "L2_mask_raw", "copies_db", "success"]


def arm_of(model: str) -> str:
    """Whether a generator's recipe has an identity term, at any time."""
    phases = RECIPES[model].phases.values()
    return WITH if any(weights.reconstruction for weights in phases) else WITHOUT


def read_log(path: Path, arm: str | None = None, batch: int = 0) -> list[dict]:
    """A row of `COLUMNS` for every checkpoint line of a log; other lines are passed over.

    Parameters
    ----------
    arm : str, optional
        `WITH` or `WITHOUT`; by default the recipe's.
    batch : int
        Faces a step, which is what turns iterations into images; 0: the recipe's.

    Raises
    ------
    BadInput
        No checkpoint in the log.
    """
    rows = []
    for line in path.read_text().splitlines():
        start = line.find('{"model"')  # a progress bar may stand before it
        if start < 0:
            continue
        try:
            seen = json.loads(line[start:])
        except json.JSONDecodeError:
            raise BadInput(
                f"{path}: a torn line, {line[start : start + 40]!r}: delete it"
            ) from None
        model = seen["model"]
        rows.append({
            "model": model, "arm": arm or arm_of(model),
            "images": seen["at"] * (batch or RECIPES[model].batch),
            "L2_mask": seen["L2_mask"], "copies_db": seen["copies_db"], "success": seen["mean"],
        })  # fmt: skip
    if not rows:
        raise BadInput(f"{path} has no checkpoint: give what companion.zoo.train printed")
    return rows


def main(
    logs: Annotated[list[Path], typer.Argument(help="what companion.zoo.train printed")],
    without: Annotated[list[Path] | None, typer.Option(help="trained without the term")] = None,
    batch: Annotated[int, typer.Option(help="faces a step, 0: the recipe's")] = 0,
    out: Annotated[Path, typer.Option(help="table to write")] = CURVES,
) -> None:
    """Write the table anew: a row a checkpoint, the last where a resumed training repeats one."""
    rows = [row for log in logs for row in read_log(log, batch=batch)]
    rows += [row for log in without or [] for row in read_log(log, WITHOUT, batch)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table.drop_duplicates(["model", "arm", "images"], keep="last")
    table = table.sort_values(["model", "arm", "images"])
    write_text(out, table.to_csv(index=False))
    print(f"{out.name}: {len(table)} checkpoints of {table['model'].nunique()} generators")


if __name__ == "__main__":
    typer.run(main)
