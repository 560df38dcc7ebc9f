"""What a detector may have to see: an edit of the face (semantic), or a trace of processing."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, from_uint8
from aef_core.models import DeepfakeModel
from companion.detectors.corit.training import Task
from companion.detectors.data import SIZE
from companion.detectors.faces import FaceSet

EDIT, BLEND, TRACE = "generators' edit", "self-blending", "upsampling trace"


def paired(
    name: str, train: FaceBatch, val: FaceBatch, forge: Callable[[FaceBatch], Tensor]
) -> Task:
    """Every photograph twice, as it is and forged: who is on it tells nothing."""
    images = [reduced(torch.cat((faces.images, forge(faces)))) for faces in (train, val)]
    labels = [torch.arange(2).repeat_interleave(len(faces)) for faces in (train, val)]
    return Task(name, images[0], labels[0], images[1], labels[1])


def edit_task(
    zoo: Mapping[str, DeepfakeModel], train: FaceBatch, val: FaceBatch, edit: str = "Blond_Hair"
) -> Task:
    """Photographs against one edit of them, by all generators that offer it in turn.

    Raises
    ------
    ValueError
        No generator offers the edit; the message lists what there is.
    """
    models = [model for model in zoo.values() if edit in model.edits]
    if not models:
        known = sorted({e for model in zoo.values() for e in model.edits})
        raise BadInput(f"no generator offers {edit!r}; known: {', '.join(known)}")

    @torch.no_grad()
    def forge(faces: FaceBatch) -> Tensor:
        made = torch.empty_like(faces.images)
        for k, model in enumerate(models):
            device = next(model.parameters()).device
            for rows in torch.arange(k, len(faces), len(models)).split(32):
                part = faces[rows.tolist()]
                c = model.conditions(part.attributes, edit).to(device)
                made[rows] = model(part.images.to(device), c).clamp(-1, 1).cpu()
        return made

    return paired(EDIT, train, val, forge)


def trace_task(train: FaceBatch, val: FaceBatch, strength: float = 0.06) -> Task:
    """Photographs against themselves with an upsampler's trace: nothing of the face has changed."""
    small = [replace(faces, images=reduced(faces.images)) for faces in (train, val)]
    return paired(TRACE, *small, lambda faces: upsampling_trace(faces.images, strength))


def reduced(images: Tensor, size: int = SIZE) -> Tensor:
    """Images in the size the detectors see, with antialiasing; [-1, 1]."""
    if images.shape[-1] <= size:
        return images
    return F.interpolate(images, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)


def upsampling_trace(images: Tensor, strength: float) -> Tensor:
    """Rows alternately brighter and darker, as uneven overlap of a transposed convolution leaves.

    Odena et al., Distill 2016. In one direction only, so that mirroring keeps it.

    Parameters
    ----------
    images : Tensor, shape [N, 3, S, S], in [-1, 1]
    strength : float, 0 to 1
        In units of the pixels: 0.06 are about 8 of 255 levels.
    """
    if not 0 <= strength <= 1:
        raise BadInput(f"the strength of a trace lies in 0 to 1, got {strength}")
    rows = 1.0 - 2.0 * (torch.arange(images.shape[-2], device=images.device) % 2)
    return (images + strength * rows[:, None]).clamp(-1, 1)


def blend_task(train: FaceSet, val: FaceSet) -> Task:
    """Reals against self-blended images: the same face, a boundary in it."""
    kept = [s.of("SBI", "SBI real") for s in (train, val)]
    floats = [from_uint8(s.images) for s in kept]
    return Task(BLEND, floats[0], kept[0].labels, floats[1], kept[1].labels)
