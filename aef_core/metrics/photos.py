"""What a forger makes of a person's protected photo."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aef_core.faces import FaceBatch, from_uint8
from aef_core.faces.photos import Box, Protected
from aef_core.metrics.evaluation import Evaluator, l2_mask
from aef_core.models.judge import predict_attributes
from aef_core.perturbation.objective import Zoo


def interrupted(zoo: Zoo, photo: Protected, box: Box) -> dict[str, float]:
    """Mean L2_mask over a generator's edits of one face of a photo; NaN where none changes it.

    The forger's way: cut the square out, shrink it to the generator's size, edit.
    """
    values = {}
    for name, model in zoo.items():
        size = (model.image_size, model.image_size)
        x, y = (_shrunk(pixels, box, size) for pixels in (photo.before, photo.after))
        judge = Evaluator({name: model}, FaceBatch(x, predict_attributes(x), ("photo",)))
        measured = [l2_mask(judge.forged(name, e), judge.forge(y, name, e), x) for e in model.edits]
        values[name] = torch.cat(measured).nanmean().item()
    return values


def _shrunk(pixels: np.ndarray, box: Box, size: tuple[int, int]) -> Tensor:
    face = Image.fromarray(pixels).crop(box).resize(size, Image.Resampling.BICUBIC)
    return from_uint8(torch.from_numpy(np.array(face)).permute(2, 0, 1)[None])
