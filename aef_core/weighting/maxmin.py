"""Ours: a max-min solver on interruption relative to each generator's single-model reference.

The game is max_d min_k S_k(d) / c_k over the box, c_k the strength that a perturbation made for
generator k alone reaches at this budget. Its solution is the Kalai-Smorodinsky point: no generator
can get a larger share of its reference without the worst one getting a smaller.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import (
    Feedback,
    Stateful,
    normalise,
    per_generator,
    positive_floats,
)

BALANCED = ("output", "strength")


@dataclass
class MaxMin(Stateful):
    """Worst-case weights from a proportional-integral controller on log relative strengths.

    Why: AEF's softmax(-E / tau) is proportional control: to keep unequal weights up it needs
    unequal strengths, so it stops short of the equilibrium. Exponentiated weights are integral
    control: no such error, but strength integrates weight and weight integrates strength, and
    two integrators in a loop oscillate. The sum of both terms has neither fault (for Lagrange
    multipliers: Stooke et al., ICML 2020, arXiv 2007.03964); it is optimistic Hedge with a
    prediction of more than one step (Rakhlin & Sridharan 2013).

    Formula: u_k = log(B_k / c_k), smoothed E <- memory E + (1 - memory) u;
    I <- I - rate (E - mean E); p = (1 - share) softmax(I - gain E) + share / K;
    w_k proportional to p_k / N_k, with N_k the moving average of mean|g_k|.

    - B_k: what is balanced. "output" is the output MSE, which the metrics judge; "strength" is
      S_k, which may be mostly its feature term. delta ascends S_k in both cases.
    - p: the adversary's mixed strategy over generators. Where the loop settles with all p_k
      above their share, all u_k are equal: that is the equilibrium. A generator that stays ahead
      sinks to its share (fixed share, Herbster & Warmuth 1998) and can come back quickly.
    - 1 / N_k: from strategy to push. Without it p would first have to learn the scales of the
      gradients; the equilibrium is the same, since p is free to make up for any factor.

    Shapes: all [K]. Common factors of all c_k, of all B_k and of all g_k cancel.

    Parameters
    ----------
    single_model : tuple of K floats, > 0
        c_k in units of B_k, in the order of the zoo. Empty: the largest N_k so far, since a
        generator that stayed linear could gain eps * sum|g_k|. That costs nothing and is exact in
        linear games, but far off where g_k is mostly the feature term: then give c_k. All 1: the
        absolute max_d min_k B_k, which gives up the rest for the most resistant generator.
    balance : {"output", "strength"}
    rate, gain : float, >= 0
        Per step, and per e-fold of relative strength. (0, gain) is AEF on log strengths, (rate, 0)
        Hedge. Tuned on toy games only.
    memory : float, in [0, 1)
        Of E, against batch noise. share : float, in (0, 1), least weight in p.

    A generator without gradient cannot be moved and gets weight 0. Cost per step: AEF's.
    """

    name = "max-min"
    single_model: tuple[float, ...] = ()
    balance: str = "output"
    rate: float = 0.1
    gain: float = 5.0
    memory: float = 0.5
    share: float = 0.01

    def __post_init__(self) -> None:
        self.single_model = positive_floats(self.single_model or (), "single_model")
        if self.balance not in BALANCED:
            raise BadInput(f"balance must be one of {', '.join(BALANCED)}, got {self.balance!r}")
        if not (0 <= self.rate < math.inf and 0 <= self.gain < math.inf):
            raise BadInput(f"rate and gain must be 0 or more, got {self.rate} and {self.gain}")
        if not 0 <= self.memory < 1:
            raise BadInput(f"memory must be in [0, 1), got {self.memory}")
        if not 0 < self.share < 1:
            raise BadInput(f"share must be in (0, 1), got {self.share}")

    def __call__(self, feedback: Feedback) -> Tensor:
        balanced, m = feedback.strength, self._memory
        if self.balance == "output" and feedback.output_mse is not None:
            balanced = feedback.output_mse
        mass = _average(m.get("mass"), feedback.grad_l1, 0.9)
        peak = torch.maximum(mass, m.get("peak", mass).to(mass))
        c = per_generator(self.single_model, peak, "single_model") if self.single_model else peak
        relative = balanced.clamp_min(1e-30) / c.clamp_min(1e-30)
        level = _average(m.get("level"), relative.log(), self.memory)
        integral = m.get("integral", torch.zeros_like(level)).to(level)
        integral = integral - self.rate * (level - level.mean())
        integral = integral - integral.max()
        integral = integral.clamp_min(math.log(self.share / len(level)))  # or it would wind up
        self._memory = {"mass": mass, "peak": peak, "level": level, "integral": integral}
        strategy = torch.softmax(integral - self.gain * level, dim=0)
        strategy = (1 - self.share) * strategy + self.share / len(level)
        return normalise(torch.where(mass > 0, strategy / mass.clamp_min(1e-30), 0))


def _average(previous: Tensor | None, value: Tensor, memory: float) -> Tensor:
    """Moving average that starts at the first value, not at zero."""
    return value if previous is None else memory * previous.to(value) + (1 - memory) * value
