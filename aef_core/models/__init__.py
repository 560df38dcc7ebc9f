"""Face-editing generators behind one interface, `DeepfakeModel`; `zoo` loads them by name.

A new one says where it works and what it edits, and is split at the feature the losses tap:

    class Mine(DeepfakeModel):
        name, image_size, attributes, edits = "Mine", 128, ("Male", "Young"), ("Male",)

        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv2d(3 + 2, 8, 4, 2, 1), nn.ConvTranspose2d(8, 3, 4, 2, 1)

        def encode(self, x, c):  # c: the target's attributes, 0 or 1, unless `conditions` differs
            return (self.down(torch.cat([x, c[:, :, None, None].expand(-1, -1, 128, 128)], 1)),)

        def decode(self, codes, x, c):
            return self.up(codes[0]).tanh()

`load_zoo() | {"Mine": Mine().eval().requires_grad_(False)}` is a zoo. In `ARCHITECTURES`, and with
a row in a zoo's `zoo.json` (architecture, settings, file, SHA-256), `load_zoo` finds it, too.
"""

from aef_core.models.attgan import AttGAN
from aef_core.models.base import ATTRIBUTES, HAIR_COLOURS, DeepfakeModel
from aef_core.models.hisd import HiSD
from aef_core.models.stargan import AttentionGAN, StarGAN

ARCHITECTURES: dict[str, type[DeepfakeModel]] = {
    model.name: model for model in (StarGAN, AttentionGAN, AttGAN, HiSD)
}

__all__ = ["ARCHITECTURES", "ATTRIBUTES", "HAIR_COLOURS", "DeepfakeModel", *ARCHITECTURES]
