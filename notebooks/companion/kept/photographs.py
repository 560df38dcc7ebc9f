"""The kept patterns on photographs of real people: CelebA and LFW, people no generator has seen.

Forward passes only. One table of numbers is kept beside the patterns and says which patterns it is
of; no photograph is.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from aef_core.errors import BadInput, NotFound
from aef_core.faces import FaceBatch, load_faces
from aef_core.metrics import Evaluator
from aef_core.metrics.statistics import bootstrap_means, interval
from aef_core.models.base import fingerprint
from aef_core.perturbation.objective import Zoo
from companion.detectors.data import LFW, celeba_people
from companion.kept.judging import judged, schedule_words
from companion.kept.store import KEPT, PATTERNS, RECORDS, Kept
from companion.studies.differences import RANDOM, REFERENCE
from companion.studies.judgement import AHEAD, OVER, SHARE, SMALLEST
from companion.studies.main_table import (
    AGAIN,
    BOUNDS,
    MEASURES,
    levels,
    load_results,
    save_results,
    summary,
)

TABLE = "photographs.csv"
SETS = ("CelebA", "LFW")
EMBEDDED = "embedded"
FACES = 8  # of each set
KEPT_MEASURES = (*MEASURES.values(), OVER, SHARE, AHEAD, SMALLEST)


def photographs(data: str, root: Path, n: int, size: int) -> tuple[FaceBatch, list[str]]:
    """`n` photographs of a set, aligned and resized alike, and who is on each.

    CelebA: of the 20 people that no generator was trained on. LFW: of its test people, with the
    judge's labels, for it has none of its own. Nobody is shown twice before all are shown once.

    Raises
    ------
    BadInput, NotFound
        The archive is missing or damaged, or has fewer.
    """
    if data == "CelebA":
        faces, people = celeba_people(root, "test", None, size, seed=0)
    else:
        faces = load_faces("lfw", "test", None, root / LFW, size)
        people = [Path(name).parent.name for name in faces.names]
    if n > len(people):
        raise BadInput(f"{data} has {len(people)} photographs to judge on, {n} were asked for")
    drawn = pd.Series(people).sample(frac=1, random_state=0)
    rows = drawn.groupby(drawn).cumcount().sort_values(kind="stable").index[:n].tolist()
    return faces[rows], [people[row] for row in rows]


def write_judged(runs: Kept, zoo: Zoo, root: Path, n: int = FACES, folder: Path = KEPT) -> Path:
    """Judge every kept run on `n` photographs of each set; keep the numbers in `folder`.

    A row per data, method, seed, measure and generator: value and 95 % interval over people. Where
    seed is empty, the row is of all seeds of a method, as from `main_table.summary`.

    Raises as `photographs` does, before anything is judged.
    """
    side = next(iter(zoo.values())).image_size
    sets = {data: photographs(data, root, n, side) for data in SETS}
    parts = []
    for data, (faces, people) in sets.items():
        table = judged(runs, Evaluator(zoo, faces))
        # people are resampled, not photographs: two of one person are not independent
        table["image"] = table["image"].map(dict(zip(faces.names, people, strict=True)))
        numbers = summary(table, runs)
        parts.append(numbers[numbers["measure"].isin(KEPT_MEASURES)].assign(data=data))
        parts += [rows.assign(data=data) for rows in each_run(table)]
    numbers = pd.concat(parts, ignore_index=True)
    front = ["data", "method", "seed"]
    shown = ", ".join(f"{data} {len(faces)} photographs of {len(set(people))} people"
                      for data, (faces, people) in sets.items())  # fmt: skip
    save_results(
        numbers[[*front, *(c for c in numbers if c not in front)]], folder / TABLE,
        judged_on=shown, schedule=schedule_words(runs), patterns=patterns(folder),
        zoo=", ".join(f"{name} {fingerprint(model)}" for name, model in zoo.items()),
    )  # fmt: skip
    return folder / TABLE


def each_run(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """L2_mask and SR_mask of every run and generator, each with its interval over people alone."""
    for column, measure in MEASURES.items():
        draws = bootstrap_means(table, ["method", "model"], column)
        for seed, own in draws.groupby(level="seed"):
            rows = interval(own, BOUNDS.get(measure)).dropna(subset="value")
            yield rows.reset_index().assign(seed=seed, measure=measure)


def patterns(folder: Path = KEPT) -> str:
    """Twelve digits that stand for the kept patterns of a folder."""
    return json.loads((folder / RECORDS).read_text())["about"]["sha256"][PATTERNS][:12]


def load_judged(folder: Path = KEPT) -> tuple[dict[str, str], pd.DataFrame]:
    """Provenance and numbers that `write_judged` wrote.

    Raises
    ------
    NotFound
        There is none yet, or it is of other patterns than the folder's.
    """
    about, numbers = load_results(folder / TABLE)
    if about.get("patterns") != patterns(folder):
        raise NotFound(f"{TABLE} is of patterns kept before: judge these, {AGAIN}")
    return about, numbers


def beside(numbers: pd.DataFrame, folder: Path = KEPT) -> tuple[pd.DataFrame, str]:
    """The methods of a `main_table.summary` on embedded faces; their kept patterns on photographs.

    Returns
    -------
    table
        A row per method; worst and mean L2_mask and the worst share, for each set of faces. An
        asterisk: not above random on some generator.
    words
        Who is on the photographs, and how each set ranks the methods; or that it is not measured.
    """
    try:
        about, judged_before = load_judged(folder)
    except NotFound as error:
        return _worst_and_mean(numbers), str(error)
    sets = {EMBEDDED: numbers[numbers["method"].isin(judged_before["method"])]}
    over_seeds = judged_before[judged_before["seed"].isna()]
    sets |= {data: over_seeds[over_seeds["data"] == data] for data in SETS}
    tables = {data: _worst_and_mean(part) for data, part in sets.items()}
    words = [f"judged on {about['judged_on']}"]
    words += [_orders(sets, column) for column in ("min", "mean")]
    table = pd.concat(tables, axis=1).loc[tables[EMBEDDED].index]
    return table, "\n".join(words)


def _idle(numbers: pd.DataFrame) -> list[str]:
    """Methods not above random on some generator."""
    least = numbers[(numbers["measure"] == OVER) & (numbers["model"] == "min")]
    return least["method"][least["low"] <= 0].tolist()


def _worst_and_mean(numbers: pd.DataFrame) -> pd.DataFrame:
    level, share = levels(numbers), levels(numbers, SHARE)
    marks = pd.Series("*", _idle(numbers)).reindex(level.index).fillna("")
    worst = level["min"].map("{:.4f}".format) + marks
    return pd.DataFrame({
        "worst": worst, "mean": level["mean"].map("{:.4f}".format),
        "worst share": share["min"].map("{:.0%}".format).reindex(level.index).fillna(""),
    })  # fmt: skip


def _orders(sets: dict[str, pd.DataFrame], column: str) -> str:
    """The methods of each set, best first; by worst generator only those with a rank."""
    said, first = [], None
    for data, numbers in sets.items():
        unranked = [REFERENCE, RANDOM, *(_idle(numbers) if column == "min" else ())]
        level = levels(numbers)[column].drop(unranked, errors="ignore")
        level = level[level.index.isin(sets[EMBEDDED]["method"])]
        order = ", ".join(level.sort_values(ascending=False).index)
        said.append(f"{data} {f'as {EMBEDDED}' if order == first else order or 'none'}")
        first = first or order
    name = "worst generator" if column == "min" else "mean"
    return f"best by {name}: " + "; ".join(said)
