"""AttGAN (He et al., TIP 2019): an encoder blind to attributes, a decoder told all of them.

Setting "256_shortcut1_inject0" at the official size. State-dict keys equal the public checkpoint's.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from aef_core.models.base import ATTRIBUTES, DeepfakeModel

CONDITION_SCALE = 0.5  # attributes enter as -0.5 and +0.5 in training (`thres_int`)
EDIT_INTENSITY = 2.0  # the edited one is pushed to -1 or +1 (`test_int / thres_int`)


def _layer(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(layers=nn.Sequential(*parts)))  # as the published keys say


def _down(channels_in: int, channels: int) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels, 4, 2, 1, bias=False)
    return _layer(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.01))


def _up(channels_in: int, channels: int) -> nn.Module:
    convolution = nn.ConvTranspose2d(channels_in, channels, 4, 2, 1, bias=False)
    return _layer(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class AttGAN(DeepfakeModel):
    """AttGAN's generator; all defaults are the official ones.

    Parameters
    ----------
    attributes : tuple of str
        What the condition vector means, in order; these are also the edits.
    width, layers : int
        Channels of the first encoder layer, and layers; each halves the image, doubles channels.
    shortcuts : int
        Decoder layers that also see the encoder's map of their size (`shortcut_layers`).
    image_size : int
        Pixels; a multiple of 2 ** layers.
    """

    name = "AttGAN"

    def __init__(
        self,
        attributes: tuple[str, ...] = ATTRIBUTES,
        width: int = 64,
        layers: int = 5,
        shortcuts: int = 1,
        image_size: int = 256,
    ) -> None:
        super().__init__()
        self.edits = self.attributes = tuple(attributes)
        self.image_size = image_size
        widths = [width * 2**i for i in range(layers)]
        self.enc_layers = nn.ModuleList(map(_down, [3, *widths], widths))
        # Each decoder layer gives the width of the encoder layer it mirrors; where its output meets
        # the encoder's map of its size, the next one takes half as many channels more.
        outs = [widths[-1], *widths[-2:0:-1]]
        ins = [n + (n // 2 if i < shortcuts else 0) for i, n in enumerate(outs)]
        ins = [widths[-1] + len(self.attributes), *ins]
        self.shortcuts = shortcuts
        self.dec_layers = nn.ModuleList(map(_up, ins, outs))
        self.dec_layers.append(_layer(nn.ConvTranspose2d(ins[-1], 3, 4, 2, 1), nn.Tanh()))

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        maps = [x := layer(x) for layer in self.enc_layers]
        return tuple(maps[: -self.shortcuts - 2 : -1])

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        out, *shortcuts = codes
        out = torch.cat([out, c[:, :, None, None].expand(-1, -1, *out.shape[2:])], dim=1)
        for i, layer in enumerate(self.dec_layers):
            out = layer(out)
            if i < self.shortcuts:
                out = torch.cat([out, shortcuts[i]], dim=1)
        return out

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        """See `DeepfakeModel.conditions`; the edited attribute at -1 or +1."""
        c = self._scaled(super().conditions(attributes, edit))
        c[:, self.attributes.index(edit)] *= EDIT_INTENSITY
        return c

    def keep_condition(self, x: Tensor, attributes: Tensor) -> Tensor:
        """See `DeepfakeModel.keep_condition`; attributes at -0.5 and +0.5."""
        return self._scaled(super().keep_condition(x, attributes))

    def _scaled(self, labels: Tensor) -> Tensor:
        return (2 * labels - 1) * CONDITION_SCALE
