"""The bars a generator must clear before it ships, on photographs of held-out people.

    python -m companion.zoo.bars --photos FOLDER --weights FOLDER --old FOLDER

Either folder holds checkpoints of companion.zoo.train, or shipped weights with their zoo.json.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from aef_core.atomic import write_text
from aef_core.errors import NotFound
from aef_core.models import DeepfakeModel
from aef_core.models.zoo import checkpoints, read_model
from companion.studies.curves import load_curves
from companion.zoo.card import curves_table, fill, markdown
from companion.zoo.looks_judge import LooksJudge
from companion.zoo.measuring import mean_looks, measure
from companion.zoo.photos import Photos, load_photos
from companion.zoo.train import read_average

REPORTED = ("looks", "looks floor", "background change", "random L2_mask", "SR_mask")  # no bar


@dataclass(frozen=True)
class Bar:
    """A measurement, and the range it must be in for so many generators (all by default)."""

    row: str
    meaning: str
    least: float = -inf
    most: float = inf
    generators: int | None = None

    def __str__(self) -> str:
        limit = f">= {self.least:g}" if self.most == inf else f"<= {self.most:g}"
        return f"{self.row} {limit}" + (f" for {self.generators}" if self.generators else "")

    def judge(self, table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
        """Per generator the value and whether it is in range; NaN, not measured, never is."""
        values = table.reindex([self.row]).iloc[0].astype(float)
        return values, values.between(self.least, self.most)


BARS = (
    Bar("looks over old", "kernel distance to real faces, over the old generator's", most=0.5),
    Bar("worst looks over mean", "of the edit that looks worst, over the mean of edits", most=1.5),
    Bar("edit success", "the judge sees the edit, mean over edits", 0.90),
    Bar("worst edit", "the same, of the edit that fails most", 0.75),
    Bar("face found", "MTCNN on forgeries", 0.98),
    Bar("copy PSNR", "dB, when nothing is asked for", 24.0),
    Bar("same person", "dlib distance below 0.6 after hair, bangs and glasses", 0.90),
    Bar("L2_mask", "single-model perturbation, eps 0.05 on [-1, 1] images", 0.05),
    Bar("L2_mask", "the same", 0.10, generators=3),
    Bar("L2_mask over random", "times what a random pattern of the same size does", 20.0),
)


def verdicts(table: pd.DataFrame) -> list[str]:
    """One line a bar: met or missed, and which generators are out of its range.

    Parameters
    ----------
    table : DataFrame
        A column a generator, a row a measurement, as of `measure`; a row may be absent.
    """
    lines = []
    for bar in BARS:
        values, cleared = bar.judge(table)
        met = cleared.sum() >= (bar.generators or len(cleared))
        out = [f"{model} {_cell(value)}" for model, value in values[~cleared].items()]
        line = f"{'met   ' if met else 'missed'} {bar} ({bar.meaning})"
        lines.append(": ".join([line, ", ".join(out)] if out else [line]))
    return lines


def bars_table(table: pd.DataFrame) -> str:
    """Markdown: bars, what they are about, every generator's value, bold where out of range."""
    rows = []
    for bar in BARS:
        values, cleared = bar.judge(table)
        cells = [_cell(v) if cleared[m] else f"**{_cell(v)}**" for m, v in values.items()]
        rows.append([str(bar), bar.meaning, *cells])
    rest = table.reindex(REPORTED)
    rows += [[row, "reported", *map(_cell, values)] for row, values in rest.T.items()]
    return markdown(["bar", "", *table], rows)


def _cell(value: float) -> str:
    return "not measured" if pd.isna(value) else f"{value:.3g}"


def read_folder(folder: Path) -> dict[str, DeepfakeModel]:
    """Generators by name: shipped ones if the folder has a zoo.json, else checkpoints' averages."""
    if (folder / "zoo.json").exists():
        return {m: read_model(folder, m, row, "shipped") for m, row in checkpoints(folder).items()}
    found = {path.stem: read_average(path) for path in sorted(folder.glob("*.ckpt"))}
    if not found:
        raise NotFound(f"{folder} has no zoo.json and no *.ckpt: give a folder of generators")
    return found


@lru_cache
def _held_out(photos: Path, size: int) -> tuple[Photos, LooksJudge]:
    people = load_photos(photos, "test", size)
    return people, LooksJudge(people.faces(torch.arange(len(people))))


def compare(
    models: dict[str, DeepfakeModel], old: dict[str, DeepfakeModel], photos: Path, n: int
) -> pd.DataFrame:
    """A column a generator: `measure`, and its looks over the old generator of its name.

    Either sees the same people, and is compared with them, at its own size.
    """
    columns = {}
    for name, model in models.items():
        column = measure(model, *_held_out(photos, model.image_size), n)
        if name in old:
            before = mean_looks(old[name], *_held_out(photos, old[name].image_size), n)
            column["looks of old"], column["looks over old"] = before, column["looks"] / before
        columns[name] = column
    return pd.DataFrame(columns)


def main(
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    weights: Annotated[Path, typer.Option(help="checkpoints, or shipped weights")],
    old: Annotated[Path | None, typer.Option(help="generators to look better than")] = None,
    n: Annotated[int, typer.Option(help="held-out photographs that judge")] = 240,
    out: Annotated[Path | None, typer.Option(help="keep the table as this JSON file")] = None,
    card: Annotated[Path | None, typer.Option(help="fill the tables of this model card")] = None,
) -> None:
    """Measure every generator of a folder against the bars."""
    table = compare(read_folder(weights), read_folder(old) if old else {}, photos, n)
    print(table.round(3).to_string(na_rep=""))
    print("\n".join(verdicts(table)))
    if out:
        write_text(out, json.dumps(json.loads(table.round(4).to_json()), indent=1) + "\n")
    if card:
        fill(card, bars=bars_table(table), curves=curves_table(load_curves()))


if __name__ == "__main__":
    typer.run(main)
