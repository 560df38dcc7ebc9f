"""Networks that exist only while a generator is trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Discriminator with a patch-wise adversarial head and an attribute head of its own.

    The attribute head learns from real faces only. Spectral normalisation stands in for StarGAN's
    gradient penalty: no double backward, so a CPU can afford it.

    Parameters
    ----------
    attributes : int
        Outputs of the attribute head.
    width : int
        Channels after the first convolution, doubled at each of the following.
    image_size : int
        Pixels; halved by each layer until 4 are left.
    """

    def __init__(self, attributes: int, width: int = 32, image_size: int = 64) -> None:
        super().__init__()
        layers, channels, size, previous = [], width, image_size, 3
        while size > 4:
            layers += [
                spectral_norm(nn.Conv2d(previous, channels, 4, 2, 1)),
                nn.LeakyReLU(0.1),
            ]
            previous, channels, size = channels, min(2 * channels, 16 * width), size // 2
        self.trunk = nn.Sequential(*layers)
        self.patches = spectral_norm(nn.Conv2d(previous, 1, 3, 1, 1))
        self.attributes = nn.Conv2d(previous, attributes, size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Realness of patches, shape [B, 1, 4, 4], and attribute logits, shape [B, attributes]."""
        code = self.trunk(x)
        return self.patches(code), self.attributes(code).flatten(1)


class TagCritic(Critic):
    """HiSD's discriminator: realness is judged per tag and attribute, given the style."""

    def __init__(
        self, tag_sizes: list[int], style_dim: int, attributes: int, width: int, image_size: int
    ) -> None:
        super().__init__(attributes, width, image_size)
        channels = self.attributes.in_channels
        self.style = nn.ModuleList(nn.Linear(style_dim, channels) for _ in tag_sizes)
        self.patches = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels, size, 3, 1, 1)) for size in tag_sizes
        )

    def judge(self, x: Tensor, style: Tensor, tag: int, attribute: int) -> tuple[Tensor, Tensor]:
        """Realness as an image of this attribute *and* style, and attribute logits."""
        code = self.trunk(x)
        # projection of the style on the code, after Miyato & Koyama's conditional critic
        match = (self.style[tag](style)[:, :, None, None] * code).mean(dim=1, keepdim=True)
        realness = self.patches[tag](code)[:, attribute : attribute + 1] + match
        return realness, self.attributes(code).flatten(1)


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of a critic: real above 1, fake below -1."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def attribute_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy summed over attributes, mean over the batch, as StarGAN weighs it."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1).mean()


def jittered(x: Tensor) -> Tensor:
    """Faces shifted by up to a sixteenth, dimmed or brightened, and every second one blurred.

    An edit that shows survives this; faint patterns that merely please the critic do not. Both
    real and forged faces pass through it, with gradients (Zhao et al. 2020, "Differentiable
    augmentation for data-efficient GAN training").
    """
    size = x.shape[3]
    reach = size // 16
    dy, dx = torch.randint(2 * reach + 1, (2,)).tolist()
    x = F.pad(x, [reach] * 4, mode="reflect")[:, :, dy : dy + size, dx : dx + size]
    x = x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1)).to(x)
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    return torch.where((torch.rand(len(x), 1, 1, 1) < 0.5).to(x.device), coarse, x)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights (HiSD ships it as `gen_test`); buffers copied."""
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for a, b in zip(average.buffers(), model.buffers(), strict=True):
        a.copy_(b)
