"""The 128-pixel zoo `faces128`: official depth, trained on CelebA and LFW; for a CUDA machine.

docs/zoo-128.md has the commands. Widths keep the four float16 files together under 30 MB.
"""

from pathlib import Path

import numpy as np
import torch

from aef_core.classifier import AttributeClassifier
from aef_core.face_sources import LOADERS
from aef_core.faces import FaceBatch, from_uint8, load_faces
from aef_core.generators import HAIR_COLOURS
from aef_core.generators.base import attribute_index
from aef_core.generators.hisd import OFFICIAL_TAGS
from aef_core.training.recipes import Phase, TrainingConfig
from aef_core.training.zoo64 import ZOO64
from aef_core.zoo import read_weights

TRAINED = ("Bangs", *HAIR_COLOURS, "Eyeglasses", "Male", "Young")
MARGIN = 1.0  # of a logit: below it the labeller is unsure (a quarter of LFW passes for all seven)

# The order that made the small AttentionGAN both right and fragile: bold edits, then the cycle.
_BOLD = Phase(0, 3e-4, 0.0, 1.0, 1.5, critic_pace=2.0, identity=10.0, openness=1.0)
_CYCLE = Phase(4000, 3e-4, 10.0, 1.5, 2.0, critic_pace=2.0, openness=1.0)
_LABELS = {"width": 40, "blocks": 6, "image_size": 128}

ZOO128 = {
    "StarGAN": TrainingConfig(
        "StarGAN", _LABELS, 40_000, 16, (_BOLD, _CYCLE), warmup=2000, critic_width=48
    ),
    "AttentionGAN": TrainingConfig(
        "AttentionGAN", _LABELS, 40_000, 16, (_BOLD, _CYCLE), warmup=1000, critic_width=48
    ),
    "AttGAN": TrainingConfig(
        "AttGAN",
        {"attributes": TRAINED, "width": 20, "layers": 5, "image_size": 128},
        40_000,
        32,
        (Phase(0), Phase(4000, 3e-4, adversarial=1.5, attribute=2.0, critic_pace=2.0)),
        critic_width=48,
    ),
    "HiSD": TrainingConfig(
        "HiSD",
        {
            "tags": OFFICIAL_TAGS,
            "width": 32,
            "blocks": 7,
            "extractor_width": 12,
            "extractor_downs": 6,
            "style_dim": 128,
            "noise_dim": 32,
            "mapper_width": 128,
            "image_size": 128,
        },
        40_000,
        16,
        (
            # as at 64 pixels: no loss on unedited faces, at any time
            Phase(0, 3e-4, 10.0, 1.5, 2.0, critic_pace=2.0),
            Phase(20_000, 3e-4, 20.0, 1.5, 4.0, critic_pace=2.0),
        ),
        warmup=500,
        critic_width=48,
    ),
}

ZOOS = {"celeba64": ZOO64, "faces128": ZOO128}


def training_faces(
    zoo: str, celeba: Path, lfw: Path | None = None, labeller: Path | None = None
) -> FaceBatch:
    """Faces a zoo is trained on, at its size: CelebA 1-8000, and LFW's training people on request.

    Raises
    ------
    ValueError
        LFW without a labeller.
    """
    size = ZOOS[zoo]["StarGAN"].settings["image_size"]
    faces = load_faces("celeba", "train", root=celeba, size=size)
    if lfw is None:
        return faces
    if labeller is None:
        raise ValueError("LFW has no labels: name a labeller, see docs/zoo-128.md")
    return join(faces, confident(read_labeller(labeller), *_photos(lfw, size)))


def confident(
    labeller: AttributeClassifier,
    images: torch.Tensor,
    names: list[str],
    margin: float = MARGIN,
) -> FaceBatch:
    """Unlabelled faces with the labeller's attributes; those it is unsure of are left out.

    Parameters
    ----------
    labeller : AttributeClassifier
        Not the one that judges the edits, or the judge would train the judged.
    images : Tensor, shape [N, 3, S, S], in [-1, 1]
    margin : float
        Least absolute logit of each of the attributes that are trained.
    """
    with torch.no_grad():
        logits = torch.cat([labeller(x) for x in images.split(128)])
    trained = [attribute_index(name) for name in TRAINED]
    sure = (logits[:, trained].abs() >= margin).all(dim=1).nonzero().flatten()
    if len(sure) == 0:
        raise ValueError(f"the labeller is sure of none of {len(images)} faces: lower the margin")
    labels = (logits > 0).to(torch.uint8)[sure]
    return FaceBatch(images[sure], labels, tuple(names[i] for i in sure.tolist()), "lfw")


def join(one: FaceBatch, other: FaceBatch) -> FaceBatch:
    """Two sets of faces as one; `source` names both."""
    return FaceBatch(
        torch.cat([one.images, other.images]),
        torch.cat([one.attributes, other.attributes]),
        one.names + other.names,
        f"{one.source}+{other.source}",
    )


def read_labeller(path: Path) -> AttributeClassifier:
    """A classifier that `train_classifier --out` wrote, frozen."""
    model = AttributeClassifier()
    model.load_state_dict(read_weights(path))
    return model.eval().requires_grad_(False)


def _photos(lfw: Path, size: int) -> tuple[torch.Tensor, list[str]]:
    images, _, names = LOADERS["lfw"](lfw, "train", None, size)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return from_uint8(pixels), names
