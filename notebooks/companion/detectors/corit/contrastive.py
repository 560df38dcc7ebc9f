"""A semantic prior in small: images held against their attributes by InfoNCE. It is not CLIP."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_core.errors import BadInput

TEMPERATURE = 0.07  # CLIP's and InfoNCE's usual start, fixed here


def info_nce(images: Tensor, texts: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; CLIP, Radford et al., ICML 2021).

    `(CE(s, i = i) + CE(s^T, i = i)) / 2` with `s = cos(images, texts) / temperature`.

    Parameters
    ----------
    images, texts : Tensor, shape [B, E], B >= 2
        Row i of one belongs to row i of the other.
    temperature : float
        > 0.

    Returns
    -------
    Tensor, scalar; log B if nothing is known

    Raises
    ------
    ValueError
        Shapes that differ, or a single pair: it has nothing to be told from.
    """
    if images.shape != texts.shape or len(images) < 2:
        raise BadInput(
            f"InfoNCE needs at least 2 pairs of one shape, got {tuple(images.shape)} and "
            f"{tuple(texts.shape)}"
        )
    scores = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T / temperature
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


class AttributeTower(nn.Module):
    """What a text encoder is to CLIP: attributes [B, A] of 0 and 1 to embeddings [B, E]."""

    def __init__(self, attributes: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(attributes, 2 * embedding), nn.GELU(), nn.Linear(2 * embedding, embedding)
        )

    def forward(self, attributes: Tensor) -> Tensor:
        return self.layers(2 * attributes.float() - 1)


@dataclass(frozen=True)
class PretrainConfig:
    """How an encoder is pre-trained: Adam, batches drawn without replacement, mirrored at random.

    `steps` and `lr` are reconstructed, as nothing of the size of CLIP's training could be repeated.
    """

    steps: int = 600
    batch: int = 64
    lr: float = 1e-3
    embedding: int = 64
    seed: int = 0


def draw(n: int, batch: int, generator: torch.Generator) -> Tensor:
    """Rows of one batch, without replacement; fewer where there are not so many."""
    return torch.randperm(n, generator=generator)[:batch]


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image flipped left to right with probability 1/2."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None].to(images.device), images.flip(-1), images)


def pretrain_semantic(
    encoder: nn.Module, images: Tensor, attributes: Tensor, config: PretrainConfig
) -> list[float]:
    """Train an encoder in place to find the attributes of an image among those of its batch.

    Parameters
    ----------
    encoder : Module
        [B, 3, S, S] to [B, dim].
    images : Tensor, shape [N, 3, S, S], in [-1, 1]
    attributes : Tensor, shape [N, A], 0 or 1
    config : PretrainConfig

    Returns
    -------
    list of float
        InfoNCE at every step; log(batch) is chance.
    """
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        tower = AttributeTower(attributes.shape[1], config.embedding)
        project = nn.Linear(encoder.dim, config.embedding)
    parts = nn.ModuleList((encoder, tower, project)).to(images.device).train()
    optimiser = torch.optim.Adam(parts.parameters(), lr=config.lr)
    losses = []
    for _ in range(config.steps):
        rows = draw(len(images), config.batch, generator)
        codes = project(encoder(mirrored(images[rows], generator)))
        loss = info_nce(codes, tower(attributes[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
