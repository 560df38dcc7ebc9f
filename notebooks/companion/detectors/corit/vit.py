"""A small vision transformer whose blocks can be read and written to, and a detector on top."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from aef_core.errors import BadInput

Edit = Callable[[int, Tensor, list[Tensor]], Tensor]


class Block(nn.Module):
    """Pre-norm attention and MLP; tokens [B, T, D] to tokens of the same shape.

    Attention is written out, not fused: per-sample gradients (`torch.func.vmap`) need it so.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attend(self, x: Tensor) -> Tensor:
        """Multi-head self-attention, shape [B, T, D]."""
        b, t, d = x.shape
        qkv = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, t, d))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def conv_stem(patch: int, dim: int) -> nn.Sequential:
    """Patches by strided 3x3 convolutions, each halving the image; the last has the full width.

    Without it SGD hardly trains a small transformer (Xiao et al., NeurIPS 2021, arXiv 2106.14881).
    """
    halvings = patch.bit_length() - 1
    if 2**halvings != patch or patch < 2:
        raise BadInput(f"patch must be a power of two of at least 2, got {patch}")
    widths = [3, *(max(8, dim >> k) for k in range(halvings - 1, 0, -1)), dim]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
    return nn.Sequential(*layers, nn.Conv2d(dim, dim, 1))


class ViT(nn.Module):
    """A vision transformer (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929), convolutional stem.

    Parameters
    ----------
    image_size, patch : int
        Pixels; the first a multiple of the second.
    dim, depth, heads : int
        Width of a token, number of blocks, attention heads (a divisor of `dim`).

    Raises
    ------
    ValueError
        A patch that does not tile the image, heads that do not divide the width.
    """

    def __init__(
        self, image_size: int = 64, patch: int = 8, dim: int = 192, depth: int = 12, heads: int = 3
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise BadInput(f"patch {patch} does not tile images of {image_size} pixels")
        if dim % heads:
            raise BadInput(f"{heads} heads do not divide a width of {dim}")
        self.image_size, self.dim, self.grid = image_size, dim, image_size // patch
        self.embed = conv_stem(patch, dim)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, 1 + self.grid**2, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        with torch.no_grad():  # as GPT-2: what 2 * depth branches add up to keeps its size
            for block in self.blocks:
                block.out.weight.div_((2 * depth) ** 0.5)
                block.mlp[2].weight.div_((2 * depth) ** 0.5)

    def tokens(self, images: Tensor, edit: Edit | None = None) -> list[Tensor]:
        """Tokens after every block.

        Parameters
        ----------
        images : Tensor, shape [B, 3, S, S], values in [-1, 1]
        edit : callable (block number from 1, its tokens, tokens of the blocks before), optional
            Returns the tokens that the next block receives; what is injected enters here.

        Returns
        -------
        list of `depth` Tensors, shape [B, 1 + patches, D], the class token first
        """
        if images.dim() != 4 or images.shape[-1] != self.image_size:
            raise BadInput(
                f"images have shape {tuple(images.shape)}, this encoder needs "
                f"[B, 3, {self.image_size}, {self.image_size}]: resize them"
            )
        x = self.embed(images).flatten(2).transpose(1, 2)
        # starts as the patches' mean: from an empty class token a net this small learns late
        x = torch.cat((self.cls + x.mean(dim=1, keepdim=True), x), dim=1) + self.position
        taps: list[Tensor] = []
        for number, block in enumerate(self.blocks, 1):
            x = block(x)
            if edit is not None:
                x = edit(number, x, taps)
            taps.append(x)
        return taps

    def read(self, taps: Sequence[Tensor]) -> Tensor:
        """The normalised class token of the last block, shape [B, D]."""
        return self.norm(taps[-1][:, 0])

    def forward(self, images: Tensor) -> Tensor:
        """`read` of `tokens`, shape [B, D]."""
        return self.read(self.tokens(images))


class Detector(nn.Module):
    """An encoder and a linear layer; logit > 0 says fake (labels: real 0, fake 1).

    Parameters
    ----------
    encoder : Module
        Images [B, 3, S, S] to features [B, D]; it names its width `dim`.
    images : Tensor, shape [N, 3, S, S], optional
        The head sees features in units of their mean and spread on these, fixed from then on. What
        all faces share is most of a feature: without this, the rest hardly moves the loss.
    """

    def __init__(self, encoder: nn.Module, images: Tensor | None = None) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.dim, 1)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.02)
        self.register_buffer("mean", torch.zeros(encoder.dim))
        self.register_buffer("spread", torch.ones(encoder.dim))
        if images is not None:
            with torch.no_grad():
                features = torch.cat([encoder(part) for part in images.split(128)])
            self.mean, self.spread = features.mean(dim=0), features.std(dim=0).clamp_min(1e-4)

    def logits(self, features: Tensor) -> Tensor:
        """The head on features of the encoder, shape [B]."""
        return self.head((features - self.mean) / self.spread).squeeze(-1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [B]."""
        return self.logits(self.encoder(images))

    @torch.no_grad()
    def score(self, images: Tensor, batch: int = 128) -> Tensor:
        """Probability of fake, shape [B], in evaluation mode; images in [-1, 1]."""
        training = self.training
        self.eval()
        scores = torch.cat([self(part).sigmoid() for part in images.split(batch)])
        self.train(training)
        return scores


def block_of(name: str) -> str:
    """The block a parameter's name belongs to: "embed", "block 1" ..., "head"."""
    parts = name.removeprefix("encoder.").split(".")
    if parts[0] == "blocks":
        return f"block {int(parts[1]) + 1}"
    return "embed" if parts[0] in ("embed", "cls", "position") else "head"


def norm_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Weights and biases of the normalisation layers, the ones SAM-ON perturbs."""
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    layers: Sequence[nn.Module] = [m for m in model.modules() if isinstance(m, kinds)]
    return [p for layer in layers for p in layer.parameters()]
