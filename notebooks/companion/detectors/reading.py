"""A user's picture as the kept detector sees it, and the scores its own is to be read against."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aef_core.errors import BadInput, must_be_file
from aef_core.faces import from_uint8
from aef_core.faces.detection import NoFace, crop_face
from aef_core.faces.pictures import open_picture
from companion.detectors.faces import FAKE, REAL
from companion.detectors.interruption import reduce
from companion.detectors.scores import read_scores
from companion.detectors.study import KEPT, MADE_BY, SHIPPED


def face_in(path: Path) -> Tensor:
    """The largest face of a picture, framed as CelebA's, shape [1, 3, 64, 64] in [-1, 1].

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, no picture, or no face in it.
    """
    picture = open_picture(path)
    try:
        face = crop_face(picture)
    except NoFace as error:
        raise BadInput(f"{path}: {error}; name a picture with a larger face") from None
    pixels = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None]
    return reduce(from_uint8(pixels))


def calibration(folder: Path = KEPT) -> tuple[pd.Series, pd.Series]:
    """The kept detector's scores of held-out real faces and of held-out forgeries.

    Raises
    ------
    FileNotFoundError
        No scores are kept.
    """
    path = folder / "csdfd_scores.csv"
    must_be_file(path, MADE_BY)
    table = read_scores(path)
    test = table[table["set"] == "test"]
    return tuple(test.loc[test["label"] == label, f"{SHIPPED}|0"] for label in (REAL, FAKE))


def rank(score: float, scores: pd.Series) -> float:
    """Share of scores that are at least this one."""
    return float((scores >= score).mean())
