"""CoRIT's four parts that need no training, as we construct them.

The abstract names them; no formula of them could be read. An encoder here is anything with
`tokens(images, edit)`, `read(taps)`, `dim`: `ViT`, or real CLIP weights by `load_clip`. Blocks
count from 1; the source block of the signal is 3 of 12 and its targets are 6 and 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_core.errors import BadInput
from companion.detectors.corit.vit import Edit

SOURCE, TARGETS, READ = 3, (6, 9), (3, 6, 9, 12)


@dataclass(frozen=True)
class Injection:
    """Regional Signal Injection: `A' += alpha M A |A'| / |A|`, from an early block to later ones.

    Attributes
    ----------
    alpha : float
        0.05 to 0.1, reconstructed; 0 injects nothing.
    keep : float
        Share of the patches in the mask, 0.25 to 0.5 reconstructed; 1 is no mask.
    mask : {"proxy", "random"}
        Where: the patches that the proxy points at, or as many at random (the control).
    signal : {"source", "shuffled"}
        What: the source block's patches, or those of another place in the image (the control).
    """

    alpha: float = 0.1
    keep: float = 0.25
    mask: str = "proxy"
    signal: str = "source"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadInput(f"keep is a share of the patches, above 0 and up to 1, got {self.keep}")
        if self.mask not in ("proxy", "random") or self.signal not in ("source", "shuffled"):
            raise BadInput(
                f"mask {self.mask!r}, signal {self.signal!r}; known: proxy or random, "
                "source or shuffled"
            )


@torch.no_grad()
def class_direction(encoder: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """t_fake - t_real, shape [D]: the classes' mean unit features, in place of CLIP's prompts."""
    v = F.normalize(encoder(images), dim=-1)
    return v[labels == 1].mean(dim=0) - v[labels == 0].mean(dim=0)


def contrastive_proxy(
    encoder: nn.Module, images: Tensor, direction: Tensor, block: int = SOURCE
) -> tuple[Tensor, Tensor]:
    """Contrastive Gradient Proxy: how a block's patches move the image towards "fake".

    `m = <v / |v|, t_fake - t_real>`, `G = dm / dA`, relevance `r_n = sum_d max(G, 0) A` (LayerCAM,
    Jiang et al. 2021).

    Parameters
    ----------
    images : Tensor, shape [B, 3, S, S], in [-1, 1]
    direction : Tensor, shape [D]
        From `class_direction`.

    Returns
    -------
    relevance : Tensor, shape [B, N], a value a patch
    gradient : Tensor, shape [B, N, D]
    """
    with torch.enable_grad():
        taps = encoder.tokens(images)
        margin = F.normalize(encoder.read(taps), dim=-1) @ direction
        return relevance_of(margin, taps[block - 1])


def relevance_of(goal: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """LayerCAM of a goal [B] on tokens [B, 1 + N, D] it depends on; relevance and gradient."""
    if not tokens.requires_grad:
        raise BadInput("the proxy needs gradients: the encoder's parameters are all frozen")
    (gradient,) = torch.autograd.grad(goal.sum(), tokens)
    gradient = gradient[:, 1:]
    return (gradient.clamp_min(0) * tokens[:, 1:]).sum(dim=-1).detach(), gradient


def region_mask(relevance: Tensor, keep: float = 0.25) -> Tensor:
    """Region Refinement Mask: the top share of the patches after a 3x3 mean; bool, shape [B, N]."""
    b, n = relevance.shape
    side = round(n**0.5)
    if side * side != n:
        raise BadInput(f"{n} patches are no square grid")
    grid = relevance.reshape(b, 1, side, side)
    smooth = F.avg_pool2d(grid, 3, stride=1, padding=1, count_include_pad=False).flatten(1)
    count = max(1, round(keep * n))
    mask = torch.zeros(b, n, dtype=torch.bool, device=relevance.device)
    return mask.scatter_(1, smooth.topk(count, dim=1).indices, True)


def random_mask(relevance: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """As many patches as `region_mask` keeps, anywhere; bool, shape [B, N]."""
    noise = torch.rand(relevance.shape, generator=generator).to(relevance.device)
    count = max(1, round(keep * relevance.shape[1]))
    return torch.zeros_like(noise, dtype=torch.bool).scatter_(1, noise.topk(count).indices, True)


def inject(mask: Tensor, config: Injection, generator: torch.Generator) -> Edit:
    """The edit that `tokens` applies: the masked source patches added to the target blocks'.

    Parameters
    ----------
    mask : Tensor, bool, shape [B, N]
    """

    def edit(number: int, tokens: Tensor, taps: Sequence[Tensor]) -> Tensor:
        if number not in TARGETS or config.alpha == 0:
            return tokens
        source, patches = taps[SOURCE - 1][:, 1:], tokens[:, 1:]
        if config.signal == "shuffled":
            source = source[:, torch.randperm(source.shape[1], generator=generator)]
        scale = patches.norm(dim=(1, 2), keepdim=True) / source.norm(dim=(1, 2), keepdim=True)
        added = config.alpha * mask[..., None] * source * scale
        return torch.cat((tokens[:, :1], patches + added), dim=1)

    return edit


def taps_with(
    encoder: nn.Module, images: Tensor, direction: Tensor, config: Injection | None
) -> list[Tensor]:
    """Tokens of every block, with the injection or (None) as they are."""
    if config is None or config.alpha == 0:
        return encoder.tokens(images)
    generator = torch.Generator().manual_seed(config.seed)
    relevance, _ = contrastive_proxy(encoder, images, direction)
    mask = (
        region_mask(relevance, config.keep)
        if config.mask == "proxy"
        else random_mask(relevance, config.keep, generator)
    )
    return encoder.tokens(images, inject(mask, config, generator))


def hierarchy(taps: Sequence[Tensor], blocks: Sequence[int] = READ) -> Tensor:
    """Hierarchical Representation Integration: layer-normed class tokens, shape [B, len * D]."""
    if max(blocks) > len(taps):
        raise BadInput(f"block {max(blocks)} is read of an encoder that has {len(taps)}")
    chosen = [taps[b - 1] for b in blocks]
    return torch.cat([F.layer_norm(t[:, 0], t.shape[-1:]) for t in chosen], dim=1)
