"""What forgers make of a person's protected photo, and of the copies of it that travel."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch import Tensor

from aef_core.faces import FaceBatch, from_uint8
from aef_core.faces.photos import Box, Protected, face_squares, overlay
from aef_core.faces.pictures import encode_like, jpeg_copy, open_picture, read_picture
from aef_core.metrics.evaluation import SUCCESS_THRESHOLD, Evaluator, l2_mask
from aef_core.models.judge import predict_attributes
from aef_core.perturbation.objective import Zoo, seeded

Copy = Callable[[Image.Image], Image.Image]


EXACT = "same square"
COPIES: dict[str, Copy] = {
    EXACT: lambda picture: picture,
    "found anew": lambda picture: picture,
    "JPEG 75": lambda picture: jpeg_copy(picture, 75),
    "half size": lambda picture: ImageOps.scale(picture, 0.5),
    "screenshot": lambda picture: ImageOps.scale(picture, 0.73, Image.Resampling.BILINEAR),
}


def left_in_copies(
    zoo: Zoo, path: str | Path, photo: Protected, delta: Tensor, strength: float = 1.0
) -> pd.DataFrame:
    """L2_mask of edits of a photo's largest face, in each of `COPIES`, beside that of random signs.

    The forger finds the face in the copy (for "same square", knows the protected one), cuts its
    square out, shrinks it to the generator's size, and edits. The unprotected photo is copied the
    same way, so a copy's own losses do not count. Random signs of the same bound lie on the same
    squares, in a file of the same kind.

    Returns
    -------
    DataFrame with a row per model, edit and copy, and columns of these names; protected and
    random: the L2_mask of each, NaN where the mask is empty.
    """
    signs = 2.0 * torch.randint(2, delta.shape, generator=seeded(0, "signs")) - 1
    floor = overlay(photo.before, delta.abs().max().cpu() * signs, photo.boxes, strength)
    content, *_ = encode_like(read_picture(path), Image.fromarray(floor))
    shots = [Image.fromarray(photo.before), Image.fromarray(photo.after), open_picture(content)]
    size = next(iter(zoo.values())).image_size
    seen = [_seen(shots, photo.boxes[0], size, *copy) for copy in COPIES.items()]
    x, *others = torch.stack(seen, dim=1)
    attributes = predict_attributes(x[:1]).expand(len(x), -1)
    judge, rows = Evaluator(zoo, FaceBatch(x, attributes, tuple(COPIES))), []
    for pair in judge.pairs:
        forged = judge.forged(*pair)
        values = (l2_mask(forged, judge.forge(y, *pair), x).tolist() for y in others)
        rows += [(*pair, *row) for row in zip(COPIES, *values, strict=True)]
    return pd.DataFrame(rows, columns=["model", "edit", "copy", "protected", "random"])


def _seen(shots: Sequence[Image.Image], box: Box, size: int, name: str, copy: Copy) -> Tensor:
    """The face in copies of three pictures as generator input, [3, 3, s, s].

    The face is searched in the second picture. Only the square and half of its side around it are
    copied and searched, to save time.
    """
    rim = (box[2] - box[0]) // 2
    around = (box[0] - rim, box[1] - rim, box[2] + rim, box[3] + rim)
    copies = [copy(shot.crop(around)) for shot in shots]
    scale = copies[0].width / (around[2] - around[0])
    lay = np.rint(scale * np.subtract(box, around[:2] * 2)).astype(int)
    found = [] if name == EXACT else face_squares(np.asarray(copies[1]))
    place = next((f for f in found if abs(f - lay).max() < scale * rim), lay)  # no other face
    faces = [c.crop(tuple(place)).resize((size, size), Image.Resampling.BICUBIC) for c in copies]
    return from_uint8(torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2))


def in_words(tables: Sequence[pd.DataFrame]) -> str:
    """Tables of `left_in_copies` as text: a row per copy, a column per generator.

    A cell has the mean L2_mask, the share of edits interrupted, and whether the mean is above or
    below that of random signs; nan where a generator changes no face.
    """
    table = pd.concat(tables)
    table["share"] = (table["protected"] > SUCCESS_THRESHOLD) + 0 * table["protected"]  # keeps nan
    columns = ["protected", "share", "random"]
    means = table.groupby(["copy", "model"], sort=False)[columns].mean()
    cells = [f"{a:.3f} {b:4.0%} {'above' if a > c else 'below'}" for a, b, c in means.to_numpy()]
    return pd.Series(cells, means.index).unstack("model", sort=False).to_string()
