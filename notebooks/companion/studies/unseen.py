"""A face editor of a family that is not in the zoo: a variational autoencoder and its directions.

No adversarial loss, no label planes, no cycle, no style code: faces are edited by walking in the
latent space. It serves as a target that no perturbation was made for.
"""

import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.config import default_device
from aef_core.models.base import ATTRIBUTES, DeepfakeModel
from aef_core.models.zoo import checkpoints, read_model
from companion.config import ASSETS

EDITS = ("Black_Hair", "Blond_Hair", "Bangs", "Eyeglasses", "Male")


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 4, 2, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.1),
    )


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Doubles the side by moving channels into space, which a CPU does for free."""
    return nn.Sequential(
        nn.Conv2d(channels_in, 4 * channels_out, 3, 1, 1, bias=False),
        nn.PixelShuffle(2),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.1),
    )


def _resized(x: Tensor, side: int) -> Tensor:
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)


class VAE(DeepfakeModel):
    """Variational autoencoder that edits by attribute vectors.

    Formula: G(x, c) = D(mu(x) + sum_a c_a v_a), v_a the direction of attribute a in the latent
    space: the least-squares effect of a on mu(x) over the training faces, other attributes held.
    Sources: Kingma & Welling (ICLR 2014); attribute vectors: Larsen et al. (ICML 2016, arXiv
    1512.09300) and Hou et al. (WACV 2017, arXiv 1610.00291), there differences of class means.

    Parameters
    ----------
    width : int
        Channels of the first encoder layer, doubled at each further one.
    layers : int
        Halvings of the image on the way to the code.
    latent : int
        Channels of the code, which keeps (inner / 2 ** layers) squared places.
    strength : float
        How far an edit walks, in lengths of the mean effect.
    inner : int
        Pixels at which it was trained and works.
    image_size : int
        Pixels of the faces it takes: reduced to `inner`, its forgeries enlarged, bilinearly.
    edits : tuple of str
        The edits offered.
    """

    name = "VAE"

    def __init__(
        self,
        width: int = 24,
        layers: int = 4,
        latent: int = 32,
        strength: float = 2.5,
        inner: int = 64,
        image_size: int = 128,
        edits: tuple[str, ...] = EDITS,
    ) -> None:
        super().__init__()
        self.edits, self.image_size, self.strength = tuple(edits), image_size, strength
        self.inner = inner
        widths = [width * 2**i for i in range(layers)]
        self.encoder = nn.Sequential(*map(_down, [3, *widths], widths))
        self.moments = nn.Conv2d(widths[-1], 2 * latent, 1)
        self.open = nn.Conv2d(latent, widths[-1], 3, 1, 1)
        self.decoder = nn.Sequential(*map(_up, widths[:0:-1], widths[-2::-1]))
        self.paint = nn.Conv2d(widths[0], 12, 3, 1, 1)
        side = inner // 2**layers
        self.register_buffer("vectors", torch.zeros(len(ATTRIBUTES), latent, side, side))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code, shape [B, latent, h, w] each."""
        mean, log_variance = self.moments(self.encoder(x)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 4)

    def generate(self, code: Tensor) -> Tensor:
        """Images in [-1, 1] of codes."""
        return F.pixel_shuffle(self.paint(self.decoder(self.open(code))), 2).tanh()

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return (self.posterior(_resized(x, self.inner))[0],)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        walked = codes[0] + torch.einsum("ba,alhw->blhw", c, self.vectors)
        return _resized(self.generate(walked), x.shape[-1])

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        """How far to walk along each vector, shape [B, 13]; zeros change nothing."""
        self._check_edit(edit)
        return self.strength * (self.target_attributes(attributes, edit).float() - attributes)

    def keep_condition(self, x: Tensor, attributes: Tensor) -> Tensor:
        """See `DeepfakeModel.keep_condition`: no walk at all."""
        return torch.zeros(attributes.shape).to(x)


UNSEEN: dict[str, type[DeepfakeModel]] = {"VAE": VAE}
"""Of other families, to be judged on and never optimised against."""


def load_unseen(device: str | torch.device | None = None) -> dict[str, DeepfakeModel]:
    """Generators of other families than the zoo's, frozen, in eval mode.

    No perturbation is optimised against them: they show what transfers. `device` as in `load_zoo`.

    Raises
    ------
    BadCheckpoint
        A file is missing or corrupt.
    """
    device = torch.device(device) if device else default_device()
    folder = ASSETS / "unseen"
    rows = checkpoints(folder)
    return {m: read_model(folder, m, rows[m], folder.name, UNSEEN).to(device) for m in UNSEEN}


def unseen_table() -> dict[str, dict]:
    """Architecture, settings, checksum and training record of each unseen generator."""
    return json.loads((ASSETS / "unseen" / "zoo.json").read_text())
