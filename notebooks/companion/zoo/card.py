"""The tables of the zoo's model card, each between two comments that name it."""

import re
from pathlib import Path

import pandas as pd

from aef_core.atomic import write_text
from aef_core.errors import BadInput

POINTS = 4  # checkpoints of a training that the card shows


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table with a line a row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def curves_table(curves: pd.DataFrame) -> str:
    """Of every training a few checkpoints, evenly spaced up to the last: images, L2_mask, success.

    Parameters
    ----------
    curves : DataFrame
        As of `companion.studies.curves.load_curves`.
    """
    rows = []
    for (model, arm), part in curves.groupby(["model", "arm"], sort=False):
        shown = sorted({round(i * (len(part) - 1) / (POINTS - 1)) for i in range(POINTS)})
        for _, row in part.iloc[shown].iterrows():
            success = "" if pd.isna(row["success"]) else f"{row['success']:.2f}"
            rows.append([model, arm, f"{row['images']:,}", f"{row['L2_mask']:.4f}", success])
    return markdown(["", "arm", "images seen", "L2_mask", "edit success"], rows)


def fill(card: Path, **tables: str) -> None:
    """Put tables between `<!-- name -->` and `<!-- /name -->`; `BadInput` if a place is missing."""
    text = card.read_text()
    for name, table in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        place = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not place.search(text):
            raise BadInput(f"{card} has no place for {name}: put {start} and {end} into it")
        text = place.sub(lambda _, s=start, t=table, e=end: f"{s}\n\n{t}\n\n{e}", text)
    write_text(card, text)
