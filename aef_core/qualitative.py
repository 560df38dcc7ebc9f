"""What the eye judges: the same faces, forged from the original and from each protected photo.

For any `FaceBatch`: the embedded faces, CelebA, LFW, FF++ frames or a folder, at the zoo's size.
"""

from collections.abc import Mapping

from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.interruption import Zoo
from aef_core.metrics import Evaluator, protect

Blocks = dict[str, dict[str, Tensor]]


def forgeries(
    zoo: Zoo, faces: FaceBatch, deltas: Mapping[str, Tensor], edit: str | Mapping[str, str]
) -> Blocks:
    """The pictures of the paper's Figs. 3 to 5: per generator, what a forger gets from each photo.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        A few faces no perturbation was optimised on, of the zoo's image size.
    deltas : mapping of label to Tensor, shape [1 or N, 3, H, W]
        One perturbation a method; the labels become rows.
    edit : str or mapping of generator to str
        What the forger asks for.

    Returns
    -------
    dict of generator to dict of row label to images, [N, 3, H, W]: "original", "forged", then the
    forgery from the photo under each perturbation.
    """
    judge = Evaluator(zoo, faces)
    protected = {label: protect(faces.images, delta.cpu()) for label, delta in deltas.items()}
    blocks = {}
    for name in zoo:
        asked = edit if isinstance(edit, str) else edit[name]
        rows = {"original": faces.images, "forged": judge.forged(name, asked)}
        blocks[name] = rows | {
            label: judge.forge(photos, name, asked) for label, photos in protected.items()
        }
    return blocks
