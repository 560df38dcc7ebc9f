"""A live game: saturating strengths instead of generators, the same loop, milliseconds a run.

For playing with weighting rules in a closed loop, where the weights move the perturbation and the
perturbation moves the strengths. It imitates the imbalance; its numbers stand for no generator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting import Feedback, make_rule

LIMIT = 0.2  # no strength passes it
OFFSET = 3.0  # at rest a strength is sigmoid(-3) = 5 % of the limit
MOMENTUM = 0.8
SLOPE = 9.0  # of the easiest player


@dataclass(frozen=True)
class Game:
    """K players that want one perturbation d in a box, max|d| <= eps, each along its own direction.

    Formula: S_k(d) = c sigmoid(s_k z_k - 3) with z_k = <u_k, d> / (eps |u_k|_1) in [-1, 1] and
    c = 0.2. Directions u_k are unit vectors with the same cosine between any two. Sensitivities
    s_k fall geometrically from 9, so that the last player is `imbalance` times harder to move.
    The step is the loop's own: `m <- 0.8 m + g / mean|g|`, `d <- clip(d + step sign(m))`.

    Parameters
    ----------
    players : tuple of str
        From the easiest to the hardest.
    imbalance : float, >= 1
    cosine : float, in (-1 / (K - 1), 1)
        Between any two gradients; negative is a conflict.
    dimensions : int, >= K
        Of d: the "pixels".
    """

    players: tuple[str, ...]
    imbalance: float = 4.0
    cosine: float = -0.1
    dimensions: int = 48
    steps: int = 80
    step_size: float = 2e-3
    eps: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        k = len(self.players)
        lowest = -1 / (k - 1) if k > 1 else -1
        checks = {
            "players": (k >= 1, "at least one"),
            "imbalance": (self.imbalance >= 1, "at least 1"),
            "cosine": (lowest < self.cosine < 1, f"above {lowest:.2f} and below 1 for {k} players"),
            "dimensions": (self.dimensions >= k, f"at least {k}"),
        }
        for name, (ok, wanted) in checks.items():
            if not ok:
                raise BadInput(f"{name} is out of range: {getattr(self, name)}, must be {wanted}")

    def play(self, rule: str, **settings: Any) -> pd.DataFrame:
        """Let a weighting rule steer the game.

        Returns
        -------
        DataFrame with the columns step, model, strength, output_mse, weight, grad_l1 of
        `Run.history`; here the strength is all output.
        """
        weigh, directions, slopes = make_rule(rule, **settings), self._directions(), self._slopes()
        scale = slopes / (self.eps * directions.abs().sum(dim=1))
        d = self.start()
        velocity, rows = torch.zeros_like(d), []
        for _ in range(self.steps):
            share = torch.sigmoid(scale * (directions @ d) - OFFSET)
            strength = LIMIT * share
            gradients = (strength * (1 - share) * scale)[:, None] * directions
            size = gradients.abs().mean(dim=1)
            weights = weigh(Feedback(strength, size, gradients @ gradients.T, strength))
            rows.append((strength, weights, size))
            step = weights @ gradients
            velocity = MOMENTUM * velocity + step / step.abs().mean().clamp_min(1e-300)
            d = (d + self.step_size * velocity.sign()).clamp(-self.eps, self.eps)
        return _history(self.players, *(torch.stack(column) for column in zip(*rows, strict=True)))

    def start(self) -> Tensor:
        """The first d: uniform noise in the box, shape [D]."""
        noise = torch.Generator().manual_seed(self.seed)
        random = torch.rand(self.dimensions, generator=noise, dtype=torch.float64)
        return (random * 2 - 1) * self.eps

    def frame(self) -> Tensor:
        """Random directions at right angles, of unit length, shape [K, D]."""
        noise = torch.Generator().manual_seed(self.seed + 1)
        shape = (self.dimensions, len(self.players))
        random = torch.randn(*shape, generator=noise, dtype=torch.float64)
        return torch.linalg.qr(random).Q.T

    def _directions(self) -> Tensor:
        """Unit vectors with the wanted cosine, shape [K, D]: a frame mixed by a Cholesky factor."""
        k = len(self.players)
        wanted = torch.full((k, k), self.cosine, dtype=torch.float64).fill_diagonal_(1)
        return torch.linalg.cholesky(wanted) @ self.frame()

    def _slopes(self) -> Tensor:
        k = len(self.players)
        fall = torch.arange(k, dtype=torch.float64) / max(1, k - 1)
        return SLOPE * self.imbalance**-fall


def replay(
    history: pd.DataFrame, rule: str, models: Iterable[str] | None = None, **settings: Any
) -> pd.DataFrame:
    """What a rule would have said to a recorded run: its history with other weights.

    An *open-loop* replay: strengths and gradients stay those of the recorded run, although another
    rule would have steered the perturbation elsewhere. Exact for the rule that made the run.

    Parameters
    ----------
    history : DataFrame
        As `Run.history`.
    models : iterable of str, optional
        Only these generators, as if the rule had seen no others; all by default.

    Raises
    ------
    ValueError
        Unknown generator, rule or setting; a rule that needs the inner products of the gradients,
        which a history does not hold.
    """
    wide = _wide(history, models)
    weigh = make_rule(rule, **settings)
    steps = zip(*(wide[c] for c in ("strength", "grad_l1", "output_mse")), strict=True)
    try:
        weights = torch.stack([weigh(Feedback(s, g, output_mse=out)) for s, g, out in steps])
    except ValueError as error:
        if "gramian" not in str(error):
            raise
        raise BadInput(
            f"{rule} cannot be replayed: it needs the inner products of the gradients, which a "
            "recorded run does not hold; play it in the live game, or run it"
        ) from None
    names = wide["names"]
    return _history(names, wide["strength"], weights, wide["grad_l1"], wide["output_mse"])


def _wide(history: pd.DataFrame, models: Iterable[str] | None) -> Mapping[str, Any]:
    """Columns of a history as tensors of shape [steps, K]."""
    known = list(history["model"].unique())
    names = known if models is None else [m for m in known if m in set(models)]
    unknown = sorted(set(models or ()) - set(known))
    if unknown or not names:
        raise BadInput(f"no generator {', '.join(unknown)} in this run; it has {known}")
    table = history.pivot(index="step", columns="model")
    columns = ("strength", "grad_l1", "output_mse")
    return {"names": names} | {
        c: torch.from_numpy(table[c][names].to_numpy(copy=True)) for c in columns
    }


def _history(
    names: Iterable[str],
    strength: Tensor,
    weights: Tensor,
    size: Tensor,
    output: Tensor | None = None,
) -> pd.DataFrame:
    names, steps = list(names), len(strength)
    return pd.DataFrame(
        {
            "step": [step for step in range(steps) for _ in names],
            "model": names * steps,
            "strength": strength.flatten().numpy(),
            "output_mse": (strength if output is None else output).flatten().numpy(),
            "weight": weights.flatten().numpy(),
            "grad_l1": size.flatten().numpy(),
        }
    )
