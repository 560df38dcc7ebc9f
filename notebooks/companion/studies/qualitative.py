"""What the eye judges: the same faces, forged from the original and from each protected photo.

For any `FaceBatch`: the embedded faces, CelebA, LFW, FF++ frames or a folder, at the zoo's size.
"""

from collections.abc import Mapping

import numpy as np
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


def contrast(table: pd.DataFrame, edit: str) -> tuple[str, dict[str, bool]]:
    """A generator whose edit a pattern undoes, one that resists, and a face typical of both.

    The generators: those whose edits survive least and most. The face: of those on which the judge
    of edits agrees with that, the one whose two L2_masks lie nearest to its generators' medians.

    Parameters
    ----------
    table : DataFrame
        One run, judged by an `Evaluator`.
    edit : str
        Only pairs count in which the judge sees this edit without the pattern, if there are any.

    Returns
    -------
    face : str
    survives : dict of generator to bool
        Whether the judge still sees the edit on this face; the undone generator comes first.
    """
    rows = table[(table["edit"] == edit) & ~table["excluded"]]
    seen = rows[rows["survives"].notna()]
    rows = rows.assign(survives=0.0) if seen.empty else seen.astype({"survives": float})
    means = rows.groupby("model")[["survives", "l2_mask"]].mean()
    order = means.sort_values(["survives", "l2_mask"], ascending=[True, False]).index
    wide = rows.pivot(index="image", columns="model", values=["survives", "l2_mask"])
    pair = wide.loc[:, (slice(None), [order[0], order[-1]])].dropna()
    survives, levels = pair["survives"], pair["l2_mask"].clip(lower=1e-12)
    agreed = (survives[order[0]] == 0) & (survives[order[-1]] == 1)
    distance = np.log(levels / levels.median()).abs().sum(axis=1)
    face = distance[agreed if agreed.any() else slice(None)].idxmin()
    return str(face), {m: bool(survives.at[face, m]) for m in (order[0], order[-1])}
