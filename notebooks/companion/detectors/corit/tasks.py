"""What a detector may have to see: a forger's edit (semantic), or a trace of processing (not)."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import from_uint8
from companion.detectors.corit.training import Task
from companion.detectors.faces import FaceSet

SEMANTIC, BLEND, TRACE = "generator edits", "self-blending", "JPEG trace"
BLENDS = ("SBI", "SBI real", "cross blend")


def semantic_task(train: FaceSet, val: FaceSet) -> Task:
    """Reals against forgeries by generators: an attribute of the face has changed."""
    return _task(SEMANTIC, *(_without_blends(s) for s in (train, val)))


def blend_task(train: FaceSet, val: FaceSet) -> Task:
    """Reals against self-blended images: the same face, a boundary in it."""
    return _task(BLEND, *(s.of("SBI", "SBI real") for s in (train, val)))


def trace_task(train: FaceSet, val: FaceSet, quality: int = 30, share: float = 1.0) -> Task:
    """Photographs as they are, and as JPEG: nothing of the face has changed.

    Parameters
    ----------
    train, val : FaceSet
        Only their photographs ("real") are taken, each one twice.
    quality : int, 1 to 95
        Of the JPEG.
    share : float, 0 to 1
        The image handed back is `(1 - share) * photograph + share * JPEG`: how strong the trace is.
    """
    sets = [s.of("real").images for s in (train, val)]
    parts = [torch.cat((x, jpeg_trace(x, quality, share))) for x in sets]
    labels = [torch.arange(2).repeat_interleave(len(x)) for x in sets]
    return Task(TRACE, from_uint8(parts[0]), labels[0], from_uint8(parts[1]), labels[1])


def jpeg_trace(images: Tensor, quality: int = 30, share: float = 1.0) -> Tensor:
    """Images and their JPEG, mixed; uint8 to uint8, shape [N, 3, S, S]."""
    if not 1 <= quality <= 95:
        raise BadInput(f"JPEG quality lies in 1 to 95, got {quality}")
    if not 0 <= share <= 1:
        raise BadInput(f"the share of the JPEG lies in 0 to 1, got {share}")
    made = []
    for pixels in images.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            made.append(np.asarray(image))
    traced = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float()
    return (images + share * (traced - images)).round().to(torch.uint8)


def _without_blends(faces: FaceSet) -> FaceSet:
    return faces[~np.isin(faces.kinds, BLENDS)]


def _task(name: str, train: FaceSet, val: FaceSet) -> Task:
    return Task(name, train.tensor(), train.labels, val.tensor(), val.labels)
