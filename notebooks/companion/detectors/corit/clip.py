"""Real CLIP weights as the encoder, for those who have them: `open_clip` and a file of their own.

Nothing of the companion needs them. The published weights could not be had where it was made, so
the numbers shown are those of the stand-in; this loader is tested on its interface.
"""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_core.errors import BadInput, NotFound
from companion.detectors.corit.vit import Edit

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP, for images in [0, 1]
STD = (0.26862954, 0.26130258, 0.27577711)


class ClipEncoder(nn.Module):
    """The image half of an `open_clip` vision transformer, with the interface of `ViT`.

    Parameters
    ----------
    visual : Module
        `model.visual` of `open_clip`: called on normalised images, with `transformer.resblocks`,
        `ln_post` and `proj`.
    image_size : int
        Pixels the weights were trained at; images of other sizes are resized.
    """

    def __init__(self, visual: nn.Module, image_size: int) -> None:
        super().__init__()
        parts = ("transformer", "ln_post", "proj")
        missing = [p for p in parts if not hasattr(visual, p)]
        if missing:
            raise BadInput(f"this CLIP has no {', '.join(missing)}: use a ViT such as ViT-L-14")
        self.visual, self.image_size = visual, image_size
        width, out = visual.proj.shape
        self.dim, self.width = out, width
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def prepared(self, images: Tensor) -> Tensor:
        """From [-1, 1] at any size to what CLIP's own preprocessing hands on."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
        return ((images.clamp(-1, 1) + 1) / 2 - self.mean) / self.std

    def tokens(self, images: Tensor, edit: Edit | None = None) -> list[Tensor]:
        """Tokens after every block, shape [B, 1 + patches, width]; `edit` as in `ViT.tokens`."""
        taps: list[Tensor] = []
        swapped = not getattr(self.visual.transformer, "batch_first", True)

        def hook(module: nn.Module, args: object, output: Tensor) -> Tensor:
            x = output.transpose(0, 1) if swapped else output
            if edit is not None:
                x = edit(len(taps) + 1, x, taps)
            taps.append(x)
            return x.transpose(0, 1) if swapped else x

        handles = [b.register_forward_hook(hook) for b in self.visual.transformer.resblocks]
        try:
            self.visual(self.prepared(images))
        finally:
            for handle in handles:
                handle.remove()
        return taps

    def read(self, taps: Sequence[Tensor]) -> Tensor:
        """The projected class token of the last block, shape [B, dim]."""
        return self.visual.ln_post(taps[-1][:, 0]) @ self.visual.proj

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.tokens(images))


def load_clip(path: str | Path, name: str = "ViT-L-14") -> ClipEncoder:
    """CLIP's image encoder from a file of weights.

    Parameters
    ----------
    path : path
        A checkpoint that `open_clip.create_model(name, pretrained=path)` reads.
    name : str
        One of `open_clip.list_models()`, a plain vision transformer.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        `open_clip` is not installed, or does not know the name, or the file is of another model.
    """
    if not Path(path).is_file():
        raise NotFound(f"{path}: no file of CLIP weights there")
    try:
        import open_clip
    except ImportError:
        raise BadInput("CLIP weights need open_clip: pip install open_clip_torch") from None
    if name not in open_clip.list_models():
        raise BadInput(f"open_clip knows no model {name!r}: see open_clip.list_models()")
    try:
        model = open_clip.create_model(name, pretrained=str(path))
    except (RuntimeError, UnpicklingError, EOFError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(f"{path} does not hold the weights of {name}: {first}") from None
    size = model.visual.image_size
    return ClipEncoder(model.visual, size if isinstance(size, int) else size[0])
