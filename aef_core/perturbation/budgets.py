"""What a perturbation may be, and what of it a photo receives: the plain box, and room for others.

Images and perturbations are in [-1, 1] units.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Budget:
    """The plain box |d| <= eps; another budget overrides `project` or `added`."""

    name: ClassVar[str] = "box"

    def shape(self, images: Tensor) -> tuple[int, ...]:
        """Shape of what the loop moves, for one perturbation of these images, [N, 3, H, W]."""
        return tuple(images.shape[1:])

    def project(self, delta: Tensor, eps: float) -> Tensor:
        """The nearest allowed perturbation, or a near one; shape [1 or N, 3, H, W]."""
        return delta.clamp(-eps, eps)

    def added(self, images: Tensor, delta: Tensor) -> Tensor:
        """What these photos receive, shape of `delta` or of `images` ([B, 3, H, W])."""
        return delta

    def identity(self) -> dict[str, Any]:
        """Name and settings, for the run's config."""
        return {"name": self.name, **asdict(self)}


BOX = Budget()
