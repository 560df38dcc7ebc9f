"""The four generators under one interface; see `base.DeepfakeModel`."""

from aef_core.models.attgan import AttGAN
from aef_core.models.base import ATTRIBUTES, HAIR_COLOURS, DeepfakeModel
from aef_core.models.hisd import HiSD
from aef_core.models.stargan import STARGAN_ATTRIBUTES, AttentionGAN, StarGAN

ARCHITECTURES: dict[str, type[DeepfakeModel]] = {
    "StarGAN": StarGAN,
    "AttentionGAN": AttentionGAN,
    "AttGAN": AttGAN,
    "HiSD": HiSD,
}

__all__ = [
    "ARCHITECTURES",
    "ATTRIBUTES",
    "HAIR_COLOURS",
    "STARGAN_ATTRIBUTES",
    "AttGAN",
    "AttentionGAN",
    "DeepfakeModel",
    "HiSD",
    "StarGAN",
]
