"""What the eye judges: the same faces, forged from the original and from each protected photo.

For any `FaceBatch`: the embedded faces, CelebA, LFW, FF++ frames or a folder, at the zoo's size.
"""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator, l2_mask, protect
from aef_core.perturbation.objective import Zoo

Blocks = dict[str, dict[str, Tensor]]


def forgeries(
    zoo: Zoo, faces: FaceBatch, deltas: Mapping[str, Tensor], edit: str | Mapping[str, str]
) -> Blocks:
    """For `plots.grids.forgery_grid`: per generator, what a forger gets from each photo.

    Parameters
    ----------
    faces : FaceBatch
        A few faces no perturbation was optimised on, of the zoo's image size.
    deltas : mapping of method to Tensor, shape [1 or N, 3, H, W]
    edit : str or mapping of generator to str
        What the forger asks for.

    Returns
    -------
    dict of generator to dict of row label to images, [N, 3, H, W]: "original", "forged", then the
    forgery from the photo that each method protects.
    """
    judge = Evaluator(zoo, faces)
    asked = dict.fromkeys(zoo, edit) if isinstance(edit, str) else edit
    blocks = {n: {"original": faces.images, "forged": judge.forged(n, asked[n])} for n in zoo}
    for method, delta in deltas.items():
        protected = protect(faces.images, delta.cpu())
        for name, block in blocks.items():
            block[method] = judge.forge(protected, name, asked[name])
    return blocks


def picture_numbers(blocks: Blocks) -> pd.DataFrame:
    """L2_mask of the pictures in `forgeries`, mean over the faces: model, method, l2_mask.

    NaN where a generator edits none of them.
    """
    rows = []
    for name, pictures in blocks.items():
        original, forged = pictures["original"], pictures["forged"]
        for label in list(pictures)[2:]:
            values = l2_mask(forged, pictures[label], original)
            rows.append({"model": name, "method": label, "l2_mask": values.nanmean().item()})
    return pd.DataFrame(rows)
