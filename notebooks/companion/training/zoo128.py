"""The 128-pixel zoo `faces128`: official depth, CelebA and LFW, trained on two CPU cores.

docs/zoo-128.md has the commands. Widths keep the four float16 files together under 30 MB.
"""

from pathlib import Path

import numpy as np
import torch

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch, from_uint8, load_faces
from aef_core.faces.sources import LOADERS
from aef_core.models import ARCHITECTURES, HAIR_COLOURS
from aef_core.models.base import attribute_index
from aef_core.models.hisd import OFFICIAL_TAGS
from aef_core.models.judge import AttributeClassifier
from aef_core.models.weights import load_weights
from aef_core.models.zoo import load_zoo
from companion.training.recipes import CONSTANT_RATE, Phase, TrainingConfig
from companion.training.zoo64 import ZOO64

TRAINED = ("Bangs", *HAIR_COLOURS, "Eyeglasses", "Male", "Young")
MARGIN = 1.0  # of a logit: below it the labeller is unsure (31 % of LFW passes for all seven)

_LABELS = {"width": 24, "blocks": 6, "image_size": 128}

ZOO128 = {
    "StarGAN": TrainingConfig(
        "StarGAN",
        _LABELS,
        iterations=3480,
        phases=(
            Phase(0, 4e-4, 20.0, adversarial=1.5, attribute=2.0, critic_pace=2.0),
            # a light identity loss: without one, colours of the backdrop are lost for good
            Phase(700, 4e-4, 20.0, 1.5, 2.0, critic_pace=2.0, identity=4.0),
            Phase(1100, 4e-4, 15.0, 1.5, 3.0, critic_pace=2.0, identity=8.0),
            Phase(1400, 4e-4, 12.0, 2.0, 7.0, critic_pace=2.0, identity=8.0),
            Phase(1600, 4e-4, 12.0, 1.5, 6.0, critic_pace=2.0, identity=20.0),
            Phase(1900, 4e-4, 12.0, 1.5, 6.0, critic_pace=2.0, identity=50.0),
            Phase(2300, 4e-4, 12.0, 1.5, 12.0, critic_pace=2.0, identity=50.0),
            # blurred and shifted, faint patterns no longer pass for edits
            Phase(2500, 4e-4, 12.0, 1.5, 8.0, critic_pace=2.0, identity=50.0, jitter=True),
            Phase(2900, 4e-4, 12.0, 2.0, 11.0, critic_pace=2.0, identity=42.0, jitter=True),
            # at last a lower rate, which returns the photo more closely at once
            Phase(3200, 2e-4, 12.0, 2.0, 11.0, critic_pace=2.0, identity=55.0, jitter=True),
            Phase(3380, 2e-4, 12.0, 2.0, 10.0, critic_pace=2.0, identity=70.0, jitter=True),
        ),
        critic_width=24,
        decay_from=CONSTANT_RATE,
        ship_average=True,
        precision="bf16",
        grown=True,
    ),
    "AttentionGAN": TrainingConfig(
        "AttentionGAN",
        _LABELS,
        iterations=2050,
        phases=(
            Phase(0, 4e-4, 10.0, 2.0, 8.0, critic_pace=2.0, identity=3.0, openness=2.0),
            Phase(400, 4e-4, 10.0, 1.5, 8.0, 2.0, identity=40.0, openness=0.5, jitter=True),
            Phase(900, 4e-4, 10.0, 2.0, 12.0, 2.0, identity=20.0, openness=0.5, jitter=True),
            Phase(1300, 4e-4, 10.0, 2.0, 12.0, 2.0, identity=35.0, openness=0.5, jitter=True),
            Phase(1600, 2e-4, 10.0, 2.0, 12.0, 2.0, identity=55.0, openness=0.5, jitter=True),
            Phase(1900, 2e-4, 10.0, 2.0, 14.0, 2.0, identity=20.0, openness=0.5, jitter=True),
        ),
        critic_width=24,
        decay_from=CONSTANT_RATE,
        precision="bf16",
        ship_average=True,
        grown=True,
    ),
    "AttGAN": TrainingConfig(
        "AttGAN",
        {"attributes": TRAINED, "width": 20, "layers": 5, "image_size": 128},
        iterations=5700,
        batch=16,
        phases=(
            Phase(0, 4e-4),
            Phase(900, 4e-4, adversarial=1.5, attribute=2.0, critic_pace=2.0),
            Phase(1800, 4e-4, adversarial=1.5, attribute=5.0, critic_pace=2.0),
            Phase(1900, 4e-4, adversarial=1.5, attribute=5.0, critic_pace=2.0, jitter=True),
            # nearly every edit is right by now: what is left goes into how it looks
            Phase(2800, 4e-4, adversarial=5.0, attribute=2.5, critic_pace=2.0, jitter=True),
            # a critic that sees every pixel sharp, and a lower rate, rub out dots
            Phase(3600, 2e-4, adversarial=5.0, attribute=3.0, critic_pace=2.0),
            Phase(4200, 2e-4, adversarial=8.0, attribute=4.0, critic_pace=2.0),
        ),
        critic_width=24,
        decay_from=CONSTANT_RATE,
        precision="bf16",
        ship_average=True,
    ),
    "HiSD": TrainingConfig(
        "HiSD",
        {
            "tags": OFFICIAL_TAGS,
            "width": 20,
            "blocks": 7,
            "extractor_width": 12,
            "extractor_downs": 6,
            "style_dim": 64,
            "noise_dim": 16,
            "mapper_width": 64,
            "image_size": 128,
        },
        iterations=2900,
        phases=(
            Phase(0, 5e-4, 10.0, 1.5, 2.0, critic_pace=2.0),
            Phase(1300, 5e-4, 20.0, 1.5, 4.0, critic_pace=2.0),
            # nearer to the published weights: a light cycle, reconstructions of unedited faces
            Phase(2600, 5e-4, 3.0, 2.0, 4.0, critic_pace=2.0, identity=5.0, jitter=True),
        ),
        batch=12,  # six to edit, six that show the target
        warmup=300,
        critic_width=24,
        decay_from=CONSTANT_RATE,
        precision="bf16",
        ship_average=True,
    ),
}

ZOOS = {"celeba64": ZOO64, "faces128": ZOO128}


def grown(config: TrainingConfig) -> dict[str, torch.Tensor]:
    """Weights of the 64-pixel StarGAN or AttentionGAN, in the deeper network `config` describes.

    Both are fully convolutional: at 128 pixels the small ones still edit every second face right.
    Residual blocks that they lack begin as the identity (their last scale is zero), in front of
    the trained ones.
    """
    small = load_zoo("celeba64", models=[config.model], device="cpu")[config.model].main
    model = ARCHITECTURES[config.model](**config.settings)
    deeper = len(model.main) - len(small)
    for i, layer in enumerate(small):  # nine layers lead to the residual blocks
        model.main[i if i < 9 else i + deeper].load_state_dict(layer.state_dict())
    for block in model.main[9 : 9 + deeper]:
        torch.nn.init.zeros_(block.main[-1].weight)
    return model.state_dict()


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
        raise BadInput("LFW has no labels: name a labeller, see docs/zoo-128.md")
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
        raise BadInput(f"the labeller is sure of none of {len(images)} faces: lower the margin")
    doubted = dict(zip(TRAINED, (logits[:, trained].abs() < margin).float().mean(0), strict=True))
    most = max(doubted, key=doubted.get)
    print(f"the labeller is sure of {len(sure)} of {len(images)} faces; doubts {most} most often")
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
    load_weights(model, path)
    return model.eval().requires_grad_(False)


def _photos(lfw: Path, size: int) -> tuple[torch.Tensor, list[str]]:
    images, _, names = LOADERS["lfw"](lfw, "train", None, size)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return from_uint8(pixels), names
