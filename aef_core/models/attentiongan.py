"""AttentionGAN (Tang et al., IJCNN 2019, the multi-domain v1): StarGAN's trunk plus an attention.

The network paints a content image and says where to use it; elsewhere the input passes through.
"""

from torch import Tensor

from aef_core.models.stargan import LabelPlaneModel


class AttentionGAN(LabelPlaneModel):
    """AttentionGAN's generator: `content * attention + x * (1 - attention)`."""

    name = "AttentionGAN"
    out_channels = 4

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        content, attention = self.content_and_attention(codes)
        return content * attention + x * (1 - attention)

    def content_and_attention(self, codes: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Content, shape [B, 3, H, W] (unbounded), and attention, shape [B, 1, H, W] in [0, 1]."""
        out = self.main[self._tap :](codes[0])
        return out[:, 1:], out[:, :1].sigmoid()
