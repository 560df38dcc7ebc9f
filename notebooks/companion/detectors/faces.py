"""Real and forged faces with what a detector's experiment needs to know of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.faces import from_uint8

REAL, FAKE = 0, 1  # labels of the field (DeepfakeBench)
Rows = slice | Sequence[int] | np.ndarray | Tensor


@dataclass(frozen=True)
class FaceSet:
    """Faces, real and forged, in one frame and size.

    Attributes
    ----------
    images : Tensor, uint8, shape [N, 3, S, S]
    labels : Tensor, int64, shape [N]
        0 real, 1 fake.
    kinds : tuple of str, length N
        "real", "LFW" or "SBI real" (the real a self-blended image is judged against) where the
        label is 0; the forger's name, "SBI" or "cross blend" where it is 1.
    people : tuple of str, length N
        Whose photograph it is or was made of: no person is in two splits.

    Raises
    ------
    ValueError
        Shapes, types or lengths do not fit.
    """

    images: Tensor
    labels: Tensor
    kinds: tuple[str, ...]
    people: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            raise BadInput(f"images are {self.images.dtype} of shape {shape}: uint8 [N, 3, S, S]")
        lengths = {len(self.images), len(self.labels), len(self.kinds), len(self.people)}
        if len(lengths) > 1:
            raise BadInput(f"images, labels, kinds, people differ in length: {sorted(lengths)}")
        if not torch.isin(self.labels, torch.tensor([REAL, FAKE])).all():
            raise BadInput("labels must be 0 (real) or 1 (fake)")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Rows) -> "FaceSet":
        """The faces of these rows: a slice, numbers, or a mask of N booleans."""
        chosen = torch.as_tensor(np.arange(len(self))[rows])
        kinds = tuple(self.kinds[i] for i in chosen)
        people = tuple(self.people[i] for i in chosen)
        return FaceSet(self.images[chosen], self.labels[chosen], kinds, people)

    def tensor(self, rows: Rows = slice(None)) -> Tensor:
        """Images of these rows in [-1, 1], float32, shape [n, 3, S, S]."""
        return from_uint8(self.images[torch.as_tensor(np.arange(len(self))[rows])])

    def of(self, *kinds: str) -> "FaceSet":
        """The faces of these kinds, in their order."""
        return self[np.isin(self.kinds, kinds)]


def faces_of(images: Tensor, label: int, kind: str, people: Sequence[str]) -> FaceSet:
    """A set of one kind; `images` uint8, shape [N, 3, S, S]."""
    n = len(images)
    return FaceSet(images, torch.full((n,), label), (kind,) * n, tuple(people))


def join(*sets: FaceSet) -> FaceSet:
    """One set of several, in their order.

    Raises
    ------
    ValueError
        No set, or images of different sizes.
    """
    sizes = sorted({s.images.shape[-1] for s in sets})
    if len(sizes) != 1:
        raise BadInput(f"sets of {len(sizes)} image sizes {sizes} cannot be joined: give one size")
    return FaceSet(
        torch.cat([s.images for s in sets]),
        torch.cat([s.labels for s in sets]),
        sum((s.kinds for s in sets), ()),
        sum((s.people for s in sets), ()),
    )
