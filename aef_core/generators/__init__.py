"""The four generators under one interface; see `base.DeepfakeModel`."""

from aef_core.generators.attentiongan import AttentionGAN
from aef_core.generators.attgan import AttGAN
from aef_core.generators.base import ATTRIBUTES, HAIR_COLOURS, DeepfakeModel
from aef_core.generators.hisd import HiSD
from aef_core.generators.stargan import STARGAN_ATTRIBUTES, StarGAN
from aef_core.generators.vae import VAE

ARCHITECTURES: dict[str, type[DeepfakeModel]] = {
    "StarGAN": StarGAN,
    "AttentionGAN": AttentionGAN,
    "AttGAN": AttGAN,
    "HiSD": HiSD,
}

UNSEEN: dict[str, type[DeepfakeModel]] = {"VAE": VAE}
"""Of other families, to be judged on and never optimised against."""

__all__ = [
    "ARCHITECTURES",
    "ATTRIBUTES",
    "HAIR_COLOURS",
    "STARGAN_ATTRIBUTES",
    "UNSEEN",
    "VAE",
    "AttGAN",
    "AttentionGAN",
    "DeepfakeModel",
    "HiSD",
    "StarGAN",
]
