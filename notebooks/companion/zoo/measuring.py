"""What the bars are about, measured of one generator on photographs of held-out people."""

from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.metrics import SUCCESS_THRESHOLD
from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from companion.studies.detection import detected
from companion.training.backdrop import head_mask
from companion.zoo.looks import EPS, disturbed, single_model_perturbation
from companion.zoo.looks_judge import LooksJudge
from companion.zoo.photos import Photos

KEEPS_IDENTITY = ("Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Eyeglasses")
SAME_PERSON = 0.6  # dlib's distance


@torch.no_grad()
def forgeries(
    model: DeepfakeModel, x: Tensor, attributes: Tensor
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Of every edit its name, the rows it changes something in, their forgeries, and its aim.

    The rows are bool, shape [N], the forgeries [M, 3, S, S], the aim 0 or 1, shape [M]. `BadInput`
    where an edit has nothing to change.
    """
    for edit in model.edits:
        target, column = model.target_attributes(attributes, edit), attribute_index(edit)
        asked = (target != attributes)[:, column]
        if not asked.any():
            raise BadInput(f"{edit} changes none of {len(x)} photographs: judge on more of them")
        forged = model(x[asked], model.conditions(attributes[asked], edit)).clamp(-1, 1)
        yield edit, asked, forged, target[asked, column]


def mean_looks(model: DeepfakeModel, photos: Photos, looks: LooksJudge, n: int = 240) -> float:
    """Kernel distance of forgeries of the last `n` photographs, mean over edits."""
    rows = torch.arange(len(photos) - n, len(photos))
    made = forgeries(model, photos.faces(rows), photos.attributes[rows])
    return sum(looks(forged) for _, _, forged, _ in made) / len(model.edits)


def background_change(forged: Tensor, x: Tensor) -> float:
    """Mean |change| on [-1, 1] where neither face nor hair is: beside the head, in the upper half.

    That is outside an ellipse about the head, the one around which the embedded faces are out of
    focus. The lower half is left out: long hair is there, which an edit may change.
    """
    outside = torch.from_numpy(head_mask(x.shape[-1])[..., 0] == 0)
    outside[len(outside) // 2 :] = False
    return (forged - x).abs()[..., outside].mean().item()


@torch.no_grad()
def measure(model: DeepfakeModel, photos: Photos, looks: LooksJudge, n: int = 240) -> pd.Series:
    """Every bar's measurement but the old looks, and each edit's success and looks.

    Parameters
    ----------
    photos : Photos
        Of the test split; its first 400 rows optimise the perturbation, the last `n` judge.
    """
    rows = torch.arange(len(photos) - n, len(photos))
    x, attributes = photos.faces(rows), photos.attributes[rows]
    found, hits, distances, background = [], {}, {}, []
    for edit, asked, forged, aim in forgeries(model, x, attributes):
        judged = predict_attributes(forged)[:, attribute_index(edit)]
        hits[edit] = (judged == aim).float().mean().item()
        distances[edit] = looks(forged)
        found.append(detected(forged[:40]).float().mean().item())
        background.append(background_change(forged, x[asked]))
    copies = model(x, model.keep_condition(x, attributes)).clamp(-1, 1)
    psnr = 10 * torch.log10(4 / (copies - x).square().mean((1, 2, 3)))
    delta = single_model_perturbation(model, photos)
    noise = torch.rand(delta.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    interrupted = disturbed(model, photos, delta, n=min(n, 60))
    floor = disturbed(model, photos, EPS * noise.sign(), n=min(n, 60))
    mean = sum(distances.values()) / len(distances)
    return pd.Series(
        {
            "looks": mean,
            "worst looks over mean": max(distances.values()) / mean,
            "looks floor": looks.floor,
            "edit success": sum(hits.values()) / len(hits),
            "worst edit": min(hits.values()),
            "face found": sum(found) / len(found),
            "copy PSNR": psnr.mean().item(),
            "background change": sum(background) / len(background),
            "same person": same_person(model, x, attributes),
            "L2_mask": interrupted.mean().item(),
            "SR_mask": (interrupted > SUCCESS_THRESHOLD).float().mean().item(),
            "random L2_mask": floor.mean().item(),
            "L2_mask over random": (interrupted.mean() / floor.mean()).item(),
            **{f"success {edit}": value for edit, value in hits.items()},
            **{f"looks {edit}": value for edit, value in distances.items()},
        }
    )


def same_person(model: DeepfakeModel, x: Tensor, attributes: Tensor, n: int = 40) -> float:
    """Share of hair, bangs and glasses edits after which dlib still sees the same person.

    NaN where dlib is not installed (`pip install -e .[faces]`).
    """
    from companion.studies.identity import NoEmbedder, load_embedder

    try:
        embed = load_embedder("dlib")
    except NoEmbedder:
        return float("nan")
    source, kept = embed(x[:n]), []
    for edit in (e for e in model.edits if e in KEEPS_IDENTITY):
        forged = embed(model(x[:n], model.conditions(attributes[:n], edit)).clamp(-1, 1))
        apart = (forged - source).norm(dim=1)
        kept.append(apart[~apart.isnan()] < SAME_PERSON)
    return torch.cat(kept).float().mean().item()
