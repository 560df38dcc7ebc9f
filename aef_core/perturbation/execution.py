"""How the loop computes, not what: memory, precision, layout.

The defaults give the bits every earlier run has. Settings that change results beyond rounding are
part of a run's identity; the others are not.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from aef_core.errors import AEFError
from aef_core.models import DeepfakeModel
from aef_core.registry import Settings, setting


class OutOfMemory(AEFError, RuntimeError):
    """Memory ran out; the message names settings that need less."""


@dataclass(frozen=True)
class Execution(Settings):
    """Settings of speed and memory; ValueError for an unknown value. Measure which one pays."""

    micro_batch: int = setting(0, "0 or more")  # images per pass; 0: the whole batch at once
    cache: str = setting("float32", "one of float32, float16, cpu")  # of clean outputs and features
    # of the generators; the loss is float32. CUDA: IEEE unless "tf32"
    precision: str = setting("float32", "one of float32, tf32, bf16")
    channels_last: bool = False

    def identity(self) -> dict[str, Any]:
        """The settings that change results by more than rounding, for a run's config."""
        changed = {"precision": self.precision} if self.precision != "float32" else {}
        changed |= {"cache": "float16"} if self.cache == "float16" else {}
        return {"execution": changed} if changed else {}

    def parts(self, n: int) -> list[slice]:
        """The micro-batches of a batch of n: slices of its positions."""
        size = self.micro_batch or n
        return [slice(i, min(i + size, n)) for i in range(0, n, size)]

    def gradient(
        self, loss: Callable[[Tensor, slice], tuple[Tensor, ...]], x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradient of a loss's first term with respect to x, and all its terms, over the batch.

        The loss gets a micro-batch and where in the batch it lies; each counts by its images.
        """
        gradient, total = torch.zeros_like(x), x.new_zeros((), dtype=torch.float64)
        for part in self.parts(len(x)):
            piece = x[part].detach().requires_grad_()
            values, share = loss(piece, part), len(piece) / len(x)
            gradient[part] = share * torch.autograd.grad(values[0], piece)[0]
            total = total + share * torch.stack([value.detach() for value in values]).double()
        return gradient, total

    def cached(self, clean: Tensor) -> Tensor:
        """Clean outputs or features the way the cache keeps them."""
        if self.cache == "float32":
            return clean
        return clean.half() if self.cache == "float16" else clean.cpu()

    def prepared(self, zoo: Mapping[str, DeepfakeModel]) -> dict[str, DeepfakeModel]:
        """The generators, copied where these settings change their layout or precision.

        Other targets, such as a face detector, are never changed.
        """
        if not (self.channels_last or self.precision == "bf16"):
            return dict(zoo)
        return {name: self._prepared(model) for name, model in zoo.items()}

    def _prepared(self, original: DeepfakeModel) -> DeepfakeModel:
        if not isinstance(original, DeepfakeModel):
            return original
        model = copy.deepcopy(original)
        model.conditions = original.conditions  # made once, before the steps: in float32
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        if self.precision == "bf16":
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    module.to(torch.bfloat16)  # as autocast would in every pass: the same bits
            for method in ("encode", "forward_with_feature"):
                setattr(model, method, _in_bf16(getattr(model, method)))
        return model

    @contextmanager
    def applied(self, device: torch.device) -> Iterator[None]:
        """Inside, CUDA multiplies in IEEE float32, or in TF32 if that is asked for.

        Memory that runs out becomes an `OutOfMemory`.
        """
        cuda = device.type == "cuda"
        switches = (torch.backends.cuda.matmul, torch.backends.cudnn.conv) if cuda else ()
        before = [switch.fp32_precision for switch in switches]
        try:
            for switch in switches:
                switch.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"
            yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory("memory ran out: give Execution a smaller micro_batch, or a cache in "
                              "float16 or on the cpu") from error  # fmt: skip
        finally:
            for switch, value in zip(switches, before, strict=True):
                switch.fp32_precision = value


PLAIN = Execution()
FAST = Execution(precision="bf16", channels_last=True)
"""For processors that multiply bf16 themselves: AVX-512 BF16, AMX, NVIDIA from Ampere on."""


def _in_bf16(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """Autocast inside, float32 outside."""

    @wraps(function)
    def cast(x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(x.device.type, torch.bfloat16):
            results = function(x, c)
        return tuple(result.float() for result in results)

    return cast
