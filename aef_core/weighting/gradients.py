"""Rules that see gradients: their size, and (through the Gramian) how they agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.registry import setting
from aef_core.weighting.base import Feedback, Weighting, normalise, uniform


@dataclass
class GradNorm(Weighting):
    """Static gradient normalisation: every generator's weighted gradient has the same mean size.

    Formula: w_k proportional to 1 / mean|g_k|; a generator without gradient gets 0. Source: stage 2
    of FOUND (arXiv 2303.00200), the "static" strategy that AEF (arXiv 2605.00443) argues against.
    Not the GradNorm of Chen et al. (ICML 2018), which learns its weights.
    """

    name = "grad-norm"

    def __call__(self, feedback: Feedback) -> Tensor:
        g = feedback.grad_l1
        return normalise(torch.where(g > 0, 1 / g.clamp_min(torch.finfo(g.dtype).tiny), 0.0))


@dataclass
class GramianRule(Weighting):
    """Base of the rules that TorchJD solves, each from the Gramian alone.

    Gradients are scaled as `rows` says. The Gramian is then scaled to trace 1: gradients of pixels
    are so small that TorchJD would take it for zero. Weights are those of the unscaled gradients,
    over their sum, which the sign step ignores; a generator without gradient gets 0. If the solver
    finds none (all zero or not finite), the scaled gradients are averaged and `solver_failed` is
    set. A call raises ValueError if the `Feedback` has no Gramian.
    """

    rows: str = setting("raw", "one of raw, l1, l2")  # g_k, g_k / mean|g_k| or g_k / |g_k|

    def solve(self, gramian: Tensor) -> Tensor:
        """Weights, shape [m], for a Gramian of trace 1, [m, m]. TorchJD is slow to import."""
        raise NotImplementedError

    def __call__(self, feedback: Feedback) -> Tensor:
        if feedback.gramian is None:
            raise BadInput("this rule needs Feedback.gramian: inner products of the gradients")
        squared, self.solver_failed = feedback.gramian.diagonal(), False
        moves = squared > 0
        if not moves.any():
            return uniform(feedback.strength)
        l2 = squared[moves].sqrt()
        scale = {"raw": torch.ones_like(l2), "l1": feedback.grad_l1[moves], "l2": l2}[self.rows]
        scale = (scale / scale.max().clamp_min(1e-300)).clamp_min(1e-100)
        scaled = feedback.gramian[moves][:, moves] / scale.outer(scale)
        found = self.solve(scaled / scaled.diagonal().sum()).clamp_min(0)
        self.solver_failed = not (found.isfinite().all() and found.sum() > 0)
        found = uniform(found) if self.solver_failed else normalise(found)
        weights = torch.zeros_like(feedback.strength)
        weights[moves] = normalise(found / scale)
        return weights


@dataclass
class MGDA(GramianRule):
    """Min-norm point: the direction in which even the slowest generator gains most.

    Formula: min_w |sum_k w_k g_k|^2 over the simplex. With raw rows the smallest gradient takes
    nearly all weight, whether its generator is resistant or saturated.
    Source: Désidéri 2012; Sener & Koltun, NeurIPS 2018 (arXiv 1810.04650); ID-Guard, TPAMI 2025.
    """

    name = "mgda"

    def solve(self, gramian: Tensor) -> Tensor:
        from torchjd.aggregation import MGDAWeighting

        return MGDAWeighting()(gramian)


@dataclass
class PCGrad(GramianRule):
    """Gradient surgery: what points against another gradient is removed, then all are added.

    Formula: for every i, over the others j in random order: if <g_i, g_j> < 0,
    g_i <- g_i - <g_i, g_j> / |g_j|^2 g_j; d = sum_i g_i. Without conflict this is grad-norm
    (rows "l1") or averaging ("raw").
    Source: Yu et al., NeurIPS 2020 (arXiv 2001.06782); rows "l1": github.com/hyy0731-zzz/CRBP.
    """

    name = "pcgrad"
    rows: str = setting("l1", "one of raw, l1, l2")
    seed: int = 0  # with the number of calls so far it gives the order: the same when resumed

    def solve(self, gramian: Tensor) -> Tensor:
        from torchjd.aggregation import PCGradWeighting

        calls = int(self.state.get("calls", 0))
        self.state = {"calls": torch.tensor(calls + 1)}
        with torch.random.fork_rng(devices=[]):  # TorchJD draws from torch's global generator
            torch.manual_seed(self.seed * 1_000_003 + calls)
            return PCGradWeighting()(gramian)


@dataclass
class CAGrad(GramianRule):
    """Conflict-averse descent: the best worst-case gain near the mean gradient.

    Formula: max_d min_k <g_k, d> with |d - g_0| <= c |g_0|, g_0 the mean; its dual is
    min_w <g_w, g_0> + c |g_0| |g_w| over the simplex, d = g_0 + c |g_0| g_w / |g_w|. There is no
    solution where g_w vanishes.
    Source: Liu et al., NeurIPS 2021 (arXiv 2110.14048), c from 0.2 to 0.8. It stands for the update
    vector search of CS-DFD (arXiv 2507.21530), which describes the same program without formulas.
    """

    name = "cagrad"
    c: float = setting(0.5, "in [0, 1)")  # radius; 0 is averaging

    def solve(self, gramian: Tensor) -> Tensor:
        from cvxpy.error import SolverError
        from torchjd.aggregation import CAGradWeighting

        try:
            return CAGradWeighting(self.c)(gramian)
        except (SolverError, TypeError):  # TorchJD takes the norm of None if nothing was found
            return torch.full_like(gramian[0], torch.nan)


@dataclass
class UPGrad(GramianRule):
    """Unconflicting projection: mean of the gradients, each projected so that none loses.

    Formula: d = mean_i v_i, v_i the point nearest to g_i with <v_i, g_j> >= 0 for all j.
    Source: Quinton & Rey, Jacobian descent (arXiv 2406.16232), as in TorchJD.
    """

    name = "upgrad"

    def solve(self, gramian: Tensor) -> Tensor:
        from torchjd.aggregation import UPGradWeighting

        return UPGradWeighting(projector=project_dual_cone)(gramian)


def project_dual_cone(u: Tensor, gramian: Tensor) -> Tensor:
    """argmin_v v' G v with v >= u for each row of `u`, shape [..., m], G the Gramian, [m, m].

    TorchJD's own needs quadprog. With G = L L' and v = u + s this is non-negative least squares,
    min |L' s + L' u| over s >= 0. As in TorchJD, 1e-4 on the diagonal keeps G definite.
    """
    from scipy.optimize import nnls

    m = len(gramian)
    root = torch.linalg.cholesky(gramian + 1e-4 * torch.eye(m).to(gramian)).T.cpu().numpy()
    rows = [v + torch.from_numpy(nnls(root, -root @ v.numpy())[0]) for v in u.reshape(-1, m).cpu()]
    return torch.stack(rows).reshape(u.shape).to(u)
