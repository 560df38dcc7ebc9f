"""Two gradients, one update: the rules CS-DFD is compared with, on flat vectors.

`o` is the gradient of the original forgeries' loss, `s` that of the synthesised ones', both of
shape [P]. Rules that only choose a direction are given the length of the mean gradient, so that no
arm wins by its step. UVS is our reading: the paper's text on it could not be read (notebook 13).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from aef_core.errors import BadInput

Rule = Callable[[Tensor, Tensor], Tensor]


def static(weight: float) -> Rule:
    """Formula: w o + (1 - w) s."""
    return lambda o, s: weight * o + (1 - weight) * s


def pcgrad(o: Tensor, s: Tensor) -> Tensor:
    """Each gradient loses its part against the other where they conflict; then the mean.

    Yu et al., NeurIPS 2020 (arXiv 2001.06782), for two tasks.
    """
    dot = o @ s
    if dot < 0:
        o, s = o - dot / (s @ s) * s, s - dot / (o @ o) * o
    return (o + s) / 2


def mgda(o: Tensor, s: Tensor) -> Tensor:
    """The point of least norm between both, at the mean's length (Désidéri 2012; Sener 2018)."""
    a, b, d = (float(v) for v in (o @ o, o @ s, s @ s))
    apart = a + d - 2 * b
    x = min(max((d - b) / apart, 0.0), 1.0) if apart > 0 else 0.5
    return like_mean(x * o + (1 - x) * s, o, s)


def uvs_weight(a: float, b: float, d: float, c: float) -> float:
    """The weight x of `o` in CAGrad's program for two tasks, in closed form.

    Formula: argmin over x in [0, 1] of g_w . g_0 + c |g_0| |g_w|, g_w = x o + (1 - x) s, g_0 their
    mean; a = o.o, b = o.s, d = s.s. Liu et al., NeurIPS 2021 (arXiv 2110.14048), solve it by SLSQP.
    """
    apart = a + d - 2 * b
    if apart <= 1e-12 * (a + d):
        return 0.5  # the two are one gradient
    k = c / 2 * sqrt(max(a + d + 2 * b, 0.0))
    centre, height = (d - b) / apart, sqrt(max(a * d - b * b, 0.0) / apart)
    if k == 0:
        return float(d <= a)
    slope = (d - a) / (2 * k * sqrt(apart))
    if abs(slope) >= 1:
        return float(slope > 0)
    x = centre + height * slope / sqrt(apart * (1 - slope * slope))
    return min(max(x, 0.0), 1.0)


def uvs(c: float) -> Rule:
    """Uniform Vector Search, read as CAGrad's program: near the mean, least for none.

    Formula: d = g_0 + c |g_0| g_w / |g_w|, which maximises min_i g_i . d over |d - g_0| <= c |g_0|;
    then the length of g_0. Conflicts with neither iff c > -min_i cos(g_i, g_0).
    """
    if not 0 <= c < 1:
        raise BadInput(f"c must lie in [0, 1), got {c}")

    def rule(o: Tensor, s: Tensor) -> Tensor:
        x = uvs_weight(float(o @ o), float(o @ s), float(s @ s), c)
        mean, chosen = (o + s) / 2, x * o + (1 - x) * s
        found = mean + c * mean.norm() * chosen / chosen.norm().clamp_min(1e-12)
        return like_mean(found, o, s)

    return rule


def like_mean(vector: Tensor, o: Tensor, s: Tensor) -> Tensor:
    """The vector at the length of the mean of o and s."""
    return vector * ((o + s).norm() / 2 / vector.norm().clamp_min(1e-12))


def head_gradients(h: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss's gradient on the last layer, with a graph of its own; shape [2, D].

    Formula: G = 1/n sum_i (softmax(W h_i) - y_i) h_i^T. No second backward is needed for it.
    """
    errors = logits.softmax(1) - torch.nn.functional.one_hot(labels, 2)
    return errors.T @ h / len(h)


def conflict_descent(first: Tensor, second: Tensor) -> Tensor:
    """Conflict Descent Loss, our own with the stated aim: 1 - cos of two gradients on the head."""
    return 1 - torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0)


@dataclass(frozen=True)
class Arm:
    """What one detector learns from and how its two gradients become one.

    Attributes
    ----------
    rule : function of two flat gradients
    original, synthesised : bool
        Which data it sees; with one kind only, that kind fills the batch.
    conflict : float
        Weight of the Conflict Descent Loss; negative seeks conflict, a control.
    """

    rule: Rule
    original: bool = True
    synthesised: bool = True
    conflict: float = 0.0


ARMS: dict[str, Arm] = {
    "original only": Arm(static(1.0), synthesised=False),
    "synthesised only": Arm(static(0.0), original=False),
    "joint": Arm(static(0.5)),
    "static 0.25": Arm(static(0.25)),
    "static 0.75": Arm(static(0.75)),
    "PCGrad": Arm(pcgrad),
    "MGDA": Arm(mgda),
    "UVS 0.2": Arm(uvs(0.2)),
    "UVS 0.5": Arm(uvs(0.5)),
    "UVS 0.8": Arm(uvs(0.8)),
    "conflict descent": Arm(static(0.5), conflict=0.01),
    "UVS 0.5 + descent": Arm(uvs(0.5), conflict=0.01),
    "conflict sought": Arm(static(0.5), conflict=-0.01),
}
"""Every arm of notebook 13, by name. "joint" is also the static weight 0.5."""

STATIC = ("static 0.25", "joint", "static 0.75")
UVS = ("UVS 0.2", "UVS 0.5", "UVS 0.8")
