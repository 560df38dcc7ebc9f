"""Faces, forgeries and verdicts of the before/after viewer, packed small.

One sheet of tiles a face, the same order on each: the photo, then the protected photos, then what
each generator makes of the photo and of the protected ones.
"""

import base64
import io
import math
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, to_uint8
from aef_core.metrics import Evaluator, protect
from aef_core.metrics.statistics import OUTCOMES, UNCOUNTED
from companion.site.gather import OWN, Show
from companion.studies.sentences import IN_WORDS, sentences

LIMIT = 6_000_000  # bytes of all sheets, as text in the page
QUALITIES = (90, 85, 80, 75, 70, 60, 50)  # of WebP; the first that fits
COLUMNS = 16


def packed(show: Show, n: int, limit: int = LIMIT) -> dict[str, Any]:
    """What `viewer.js` reads: names, tiles, verdicts and sheets as data addresses.

    Parameters
    ----------
    n : int, >= 1
        How many faces: those on which most edits work unprotected.
    limit : int
        Bytes the sheets may take.

    Raises
    ------
    BadInput
        The pictures do not fit, whatever the quality.
    """
    chosen = most_edited(show, n)
    tiles, pictures = drawn(show, chosen)
    methods = list(show.patterns)
    return {
        "size": chosen.images.shape[-1],
        "columns": COLUMNS,
        "faces": list(chosen.names),
        "methods": methods,
        "own": OWN,
        "edits": {model: list(show.zoo[model].edits) for model in show.zoo},
        "words": {e: IN_WORDS.get(e, e.lower().replace("_", " ")) for e in _edits(show)},
        "tiles": tiles,
        "verdicts": verdicts(show, chosen),
        "outcomes": [*OUTCOMES, *UNCOUNTED],
        "survival": {m: survival(show.verdicts[show.verdicts["method"] == m]) for m in methods},
        "sheets": sheets(pictures, limit),
    }


def most_edited(show: Show, n: int) -> FaceBatch:
    """The n faces on which most edits work when nothing protects them, in their own order."""
    anyone = show.verdicts["method"] == show.verdicts["method"].iloc[-1]
    works = show.verdicts[anyone].groupby("image")["survives"].count()
    counts = works.reindex(show.faces.names).fillna(0)
    best = sorted(range(len(counts)), key=lambda i: -counts.iloc[i])[:n]
    return show.faces[sorted(best)]


def drawn(show: Show, faces: FaceBatch) -> tuple[dict[str, Any], Tensor]:
    """Every picture of the faces, and where each lies on a sheet.

    Returns
    -------
    tiles : dict
        `photo`: its place; `protected[method][model]`, `forged[model][edit]` and
        `after[method][model][edit]` likewise.
    pictures : Tensor, shape [tiles, N, 3, H, W], values in [-1, 1]
    """
    judge, pictures = Evaluator(show.zoo, faces), [faces.images]
    tiles: dict[str, Any] = {"photo": 0, "protected": {}, "forged": {}, "after": {}}

    def put(images: Tensor) -> int:
        pictures.append(images)
        return len(pictures) - 1

    for model in show.zoo:
        tiles["forged"][model] = {e: put(judge.forged(model, e)) for e in show.zoo[model].edits}
    for method, patterns in show.patterns.items():
        places: dict[int, int] = {}  # a pattern for all generators is drawn once
        protected, after = tiles["protected"].setdefault(method, {}), {}
        for model, delta in patterns.items():
            images = protect(faces.images, delta)
            place = places.get(id(delta))
            protected[model] = places[id(delta)] = put(images) if place is None else place
            after[model] = {
                edit: put(judge.forge(images, model, edit)) for edit in show.zoo[model].edits
            }
        tiles["after"][method] = after
    return tiles, torch.stack(pictures)


def verdicts(show: Show, faces: FaceBatch) -> dict[str, Any]:
    """`[method][model][edit]`: for every face the outcome's number and L2_mask (None if empty)."""
    outcomes = [*OUTCOMES, *UNCOUNTED]
    rows = show.verdicts.set_index(["method", "model", "edit", "image"]).sort_index()
    found: dict[str, Any] = {}
    for method in show.patterns:
        for model in show.zoo:
            for edit in show.zoo[model].edits:
                part = rows.loc[(method, model, edit)].loc[list(faces.names)]
                pairs = zip(part["outcome"], part["l2_mask"], strict=True)
                said = [[outcomes.index(o), None if math.isnan(v) else round(v, 5)]
                        for o, v in pairs]  # fmt: skip
                found.setdefault(method, {}).setdefault(model, {})[edit] = said
    return found


def survival(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """`[model][edit]`: how many of these edits still work over all judged faces, in words."""
    said: dict[str, dict[str, str]] = {}
    for (model, edit), sentence in sentences(table).items():
        said.setdefault(model, {})[edit] = sentence
    return said


def sheets(pictures: Tensor, limit: int) -> list[str]:
    """A sheet of tiles for each face, as data addresses that together stay below a size.

    Parameters
    ----------
    pictures : Tensor, shape [tiles, N, 3, H, W], values in [-1, 1]

    Raises
    ------
    BadInput
        Not even the lowest quality fits.
    """
    for quality in QUALITIES:
        made = [_sheet(pictures[:, i], quality) for i in range(pictures.shape[1])]
        if sum(map(len, made)) <= limit:
            return made
    raise BadInput(
        f"the pictures take more than {limit / 1e6:g} MB at WebP quality {QUALITIES[-1]}: "
        "show fewer faces (--faces)"
    )


def _sheet(tiles: Tensor, quality: int) -> str:
    rows = math.ceil(len(tiles) / COLUMNS)
    size = tiles.shape[-1]
    blank = tiles.new_full((rows * COLUMNS - len(tiles), *tiles.shape[1:]), -1)
    grid = to_uint8(torch.cat([tiles, blank])).reshape(rows, COLUMNS, 3, size, size)
    pixels = grid.permute(0, 3, 1, 4, 2).reshape(rows * size, COLUMNS * size, 3).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _edits(show: Show) -> list[str]:
    return list(dict.fromkeys(edit for model in show.zoo.values() for edit in model.edits))
