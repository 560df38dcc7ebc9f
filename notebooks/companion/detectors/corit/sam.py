"""Sharpness-aware minimisation: a step along the gradient at the worst point nearby."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aef_core.errors import BadInput

ETA = 0.01  # of ASAM, added to |w| (Kwon et al. 2021)
TINY = 1e-12


@contextmanager
def still_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch and leaves its running statistics alone."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracks = [layer.track_running_stats for layer in layers]
    for layer in layers:
        if layer.training:
            layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, track in zip(layers, tracks, strict=True):
            layer.track_running_stats = track


class SAM:
    """SAM around any optimiser (Foret et al., ICLR 2021, arXiv 2010.01412).

    `e = rho g / |g|`; the optimiser then steps from w along the gradient at w + e. Adaptive (ASAM,
    Kwon et al., ICML 2021): `e = rho T^2 g / |T g|` with `T = |w| + 0.01`, which no rescaling of
    the weights changes.

    Parameters
    ----------
    model : Module
    optimiser : Optimizer
        Over the model's parameters.
    rho : float
        Radius, >= 0, in units of the weights' norm; 0 is the optimiser alone, in one pass.
    adaptive : bool
        ASAM instead.
    perturbed : iterable of Parameter, optional
        Only these are moved to w + e (SAM-ON: those of the normalisation layers); all by default.

    Raises
    ------
    ValueError
        A radius that is negative or not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: Optimizer,
        rho: float,
        *,
        adaptive: bool = False,
        perturbed: Iterable[nn.Parameter] | None = None,
    ) -> None:
        if not 0 <= rho < float("inf"):
            raise BadInput(f"rho must be finite and at least 0, got {rho}")
        self.model, self.optimiser = model, optimiser
        self.rho, self.adaptive = rho, adaptive
        self.perturbed = list(model.parameters() if perturbed is None else perturbed)

    def step(self, loss: Callable[[], Tensor]) -> Tensor:
        """One update; `loss` computes the batch's loss, at most twice. Returns it as it was at w.

        The second pass leaves BatchNorm's running statistics alone.
        """
        self.optimiser.zero_grad()
        value = loss()
        value.backward()
        if self.rho > 0:
            moves = self.ascent()
            shift(self.perturbed, moves, +1)
            self.optimiser.zero_grad()
            with still_statistics(self.model):
                loss().backward()
            shift(self.perturbed, moves, -1)
        self.optimiser.step()
        return value.detach()

    @torch.no_grad()
    def ascent(self) -> list[Tensor]:
        """The moves e, one a perturbed parameter, from the gradients that are there."""
        params = self.perturbed
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        scales = [p.abs() + ETA if self.adaptive else torch.ones_like(p) for p in params]
        scaled = [t * g for t, g in zip(scales, gradients, strict=True)]
        length = torch.stack([g.norm() for g in scaled]).norm() + TINY
        return [self.rho * t * g / length for t, g in zip(scales, scaled, strict=True)]


@torch.no_grad()
def shift(params: list[nn.Parameter], moves: list[Tensor], sign: int) -> None:
    """Add sign * move to every parameter, in place."""
    for p, move in zip(params, moves, strict=True):
        p.add_(move, alpha=sign)


def weight_norm(params: Iterable[Tensor]) -> float:
    """|w|, the Euclidean norm of all weights together: rho / |w| compares nets of any size."""
    return torch.stack([p.detach().norm() for p in params]).norm().item()
