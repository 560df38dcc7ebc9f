"""Does an edit work on a photo that nothing protects? The embedded judge says."""

import numpy as np
from torch import Tensor

from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes


def shows_edit(model: DeepfakeModel, edit: str, attributes: Tensor, images: Tensor) -> np.ndarray:
    """Whether the judge sees in each image [B, 3, H, W] what the edit asks for, shape [B], bool.

    `attributes`, shape [B, 13], are the faces' before the edit: they decide what a flip asks for.
    """
    column = attribute_index(edit)
    wanted = model.target_attributes(attributes, edit)[:, column]
    return (predict_attributes(images)[:, column] == wanted).numpy()


def edit_status(
    model: DeepfakeModel, edit: str, attributes: Tensor, photos: Tensor, forged: Tensor
) -> np.ndarray:
    """Which edits work when nothing protects the photo: only those can be undone.

    Parameters
    ----------
    attributes, photos : Tensor, shape [N, 13]
        Of the faces before the edit, as labelled and as `predict_attributes` sees them.
    forged : Tensor, shape [N, 3, H, W], values in [-1, 1]

    Returns
    -------
    ndarray of str, shape [N]: "works" (the judge sees the edit in the forgery, and neither label
    nor judge sees it in the photo), "already there" (one of them does), "never seen".
    """
    column = attribute_index(edit)
    wanted = model.target_attributes(attributes, edit)[:, column]
    asked = (attributes[:, column] != wanted) & (photos[:, column] != wanted)
    status = np.full(len(attributes), "already there", dtype=object)
    seen = shows_edit(model, edit, attributes[asked], forged[asked])
    status[asked.numpy()] = np.where(seen, "works", "never seen")
    return status
