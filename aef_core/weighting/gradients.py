"""Rules that see gradients: their size, and (through the Gramian) how they agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.weighting.base import Feedback, Weighting, uniform


@dataclass
class GradNorm(Weighting):
    """Static gradient normalisation: every generator pushes with the same gradient mass.

    Formula: g = mean_k g_k / mean|g_k|, that is w_k proportional to 1 / mean|g_k| (the sign step
    that follows ignores the common factor). Source: stage 2 of FOUND (arXiv 2303.00200), the
    "static" strategy that AEF (arXiv 2605.00443) argues against. Not the GradNorm of Chen et al.
    (ICML 2018), which learns its weights.

    A generator without any gradient cannot be moved; it gets the weight zero instead of all.
    """

    name = "grad-norm"

    def __call__(self, feedback: Feedback) -> Tensor:
        g = feedback.grad_l1
        inverse = torch.where(g > 0, 1 / g.clamp_min(torch.finfo(g.dtype).tiny), 0.0)
        if inverse.sum() == 0:
            return uniform(g)
        inverse = inverse / inverse.max()  # before the sum: 1 / tiny would overflow
        return inverse / inverse.sum()
