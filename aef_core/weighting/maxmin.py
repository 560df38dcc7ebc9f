"""Ours: a max-min solver on interruption relative to each generator's single-model reference.

The game is max_d min_k S_k(d) / c_k over the box, c_k the strength that a perturbation made for
generator k alone reaches. Its solution is the Kalai-Smorodinsky point: no generator can get a
larger share of its reference without the worst one getting a smaller.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.registry import setting
from aef_core.weighting.base import Feedback, Weighting, normalise, per_generator


@dataclass
class MaxMin(Weighting):
    """Worst-case weights from a proportional-integral controller on log relative strengths.

    Why: AEF's softmax(-E / tau) is proportional control: unequal weights need unequal strengths,
    so it stops short of the equilibrium. Exponentiated weights are integral control: they get
    there, but oscillate, since strength integrates weight in turn. The sum of both does neither
    (Stooke et al., ICML 2020, arXiv 2007.03964; as optimistic Hedge, Rakhlin & Sridharan 2013).

    Formula: u_k = log(B_k / c_k), smoothed E <- memory E + (1 - memory) u;
    I <- I - rate (E - mean E); p = (1 - share) softmax(I - gain E) + share / K;
    w_k proportional to p_k / N_k, N_k the moving average of mean|g_k|. All have shape [K]. With
    rate 0 this is AEF on log strengths, with gain 0 Hedge.

    - B_k is what `balance` names, the output MSE or S_k; delta ascends S_k in both cases.
    - p is the adversary's strategy. A generator that stays ahead sinks to p_k = share / K (fixed
      share, Herbster & Warmuth 1998). At rest, u_k is equal for all the others.
    - 1 / N_k spares p from learning the scales of the gradients; the equilibrium is the same. A
      generator without gradient gets weight 0.
    - c_k is `single_model`, in units of B_k. Empty: the largest N_k so far, exact where S_k is
      linear, far off where g_k is mostly the feature term. All 1: the absolute max_d min_k B_k,
      which sacrifices the others to the most resistant.
    """

    name = "max-min"
    single_model: tuple[float, ...] = setting((), "positive numbers, one per generator")
    balance: str = setting("output", "one of output, strength")
    rate: float = setting(0.1, "0 or more")  # per step, tuned on toy games
    gain: float = setting(5.0, "0 or more")  # per e-fold of B_k / c_k, tuned likewise
    memory: float = setting(0.5, "in [0, 1)")  # of E, against batch noise
    share: float = setting(0.01, "in (0, 1)")

    def __call__(self, feedback: Feedback) -> Tensor:
        balanced, m = feedback.strength, self.state
        if self.balance == "output" and feedback.output_mse is not None:
            balanced = feedback.output_mse
        mass = _average(m.get("mass"), feedback.grad_l1, 0.9)
        peak = torch.maximum(mass, m.get("peak", mass).to(mass))
        c = per_generator(self.single_model, peak, "single_model")
        relative = balanced.clamp_min(1e-30) / c.clamp_min(1e-30)
        level = _average(m.get("level"), relative.log(), self.memory)
        integral = m.get("integral", torch.zeros_like(level)).to(level)
        integral = integral - self.rate * (level - level.mean())
        integral = integral - integral.max()
        integral = integral.clamp_min(math.log(self.share / len(level)))  # or it would wind up
        self.state = {"mass": mass, "peak": peak, "level": level, "integral": integral}
        strategy = torch.softmax(integral - self.gain * level, dim=0)
        strategy = (1 - self.share) * strategy + self.share / len(level)
        return normalise(torch.where(mass > 0, strategy / mass.clamp_min(1e-30), 0))


def _average(previous: Tensor | None, value: Tensor, memory: float) -> Tensor:
    """Moving average that starts at the first value, not at zero."""
    return value if previous is None else memory * previous.to(value) + (1 - memory) * value
