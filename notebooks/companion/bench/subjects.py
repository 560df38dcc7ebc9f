"""What is measured: generators with random weights (speed does not depend on them) and noise."""

import torch

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.models import ARCHITECTURES, ATTRIBUTES, DeepfakeModel

# The embedded zoo's sizes, the official ones, and the smallest that exercise every code path.
SIZES: dict[str, dict[str, dict]] = {
    "tiny": {
        "StarGAN": {"width": 4, "blocks": 1},
        "AttentionGAN": {"width": 4, "blocks": 1},
        "AttGAN": {"width": 4, "layers": 3},
        "HiSD": {"width": 4, "blocks": 1, "extractor_width": 4, "extractor_downs": 3,
                 "style_dim": 8, "noise_dim": 4, "mapper_width": 8},
    },
    "official": {name: {} for name in ARCHITECTURES},
}  # fmt: skip


def random_zoo(
    size: str = "tiny",
    models: int = 4,
    device: str | torch.device = "cpu",
    seed: int = 0,
    image_size: int = 256,
) -> dict[str, DeepfakeModel]:
    """Frozen generators of a size, taking turns through the four architectures.

    Raises
    ------
    ValueError
        Unknown size.
    """
    if size not in SIZES:
        raise BadInput(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    torch.manual_seed(seed)
    zoo = {}
    for i in range(models):
        turn, name = divmod(i, len(ARCHITECTURES))
        name = list(ARCHITECTURES)[name]
        model = ARCHITECTURES[name](**SIZES[size][name], image_size=image_size)
        zoo[f"{name} {turn + 1}" if turn else name] = model.eval().requires_grad_(False).to(device)
    return zoo


def noise_faces(n: int, size: int, seed: int = 0) -> FaceBatch:
    """Uniform noise in [-1, 1] with random attributes, named as such."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, size, size, generator=generator) * 2 - 1
    attributes = torch.randint(2, (n, len(ATTRIBUTES)), generator=generator, dtype=torch.uint8)
    return FaceBatch(images, attributes, tuple(f"noise-{i}" for i in range(n)))
