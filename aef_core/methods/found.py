"""FOUND: a stage on pooled features, then gradients of equal mass."""

from dataclasses import dataclass
from typing import ClassVar

from aef_core.methods.base import Method
from aef_core.registry import setting


@dataclass
class FOUND(Method):
    """Feature ensemble, then gradient ensemble.

    Formula: `inner` steps d <- clip(d + 1e-3 sign(g)) that maximise the 1-Wasserstein distance
    between the pooled features of all generators before and after (at most 32 x 32, summed over
    channels and generators), then g = mean_k g_k / mean|g_k| of the output MSEs,
    m <- g + 0.8 m, d <- clip(d + 1e-3 sign(m)).
    Source: FOUND (arXiv 2303.00200; ACM TOMM 21(2) 2024, doi 10.1145/3653457), whose code is not
    public; steps and constants from its descendant CRBP (github.com/hyy0731-zzz/CRBP): 5 inner
    steps, 50 epochs, step 1e-3, start uniform in the box, input diversity 0.5.

    Departs from CRBP's code, whose "Wasserstein" is the mean product of the two maps: here it is
    the distance, by sorting, as in the paper. "Individual-feature maintenance" is left out.
    """

    name = "found"
    rule = "grad-norm"
    fixed: ClassVar = {
        "feature_weight": 0.0, "feature_distance": "wasserstein", "momentum": 0.8,
        "normalise": "each", "universal": True,
    }  # fmt: skip
    inner: int = setting(5, "0 or more")  # feature steps before each step
    diversity: float = 0.5  # chance of a random resize of the protected image, not its reference
