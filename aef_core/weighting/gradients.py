"""Rules that see gradients: their size, and (through the Gramian) how they agree.

TorchJD solves; it is imported at first use, because it brings a convex-programming stack. Its
solvers treat a Gramian with a trace below 1e-4 as zero, and gradients of a mean squared error with
respect to pixels are that small: so the Gramian is scaled to trace 1 first.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aef_core.errors import BadInput
from aef_core.weighting.base import Feedback, Stateful, Weighting, normalise, uniform

ROWS = ("raw", "l1", "l2")


@dataclass
class GradNorm(Weighting):
    """Static gradient normalisation: every generator's weighted gradient has the same mean size.

    Formula: g = mean_k g_k / mean|g_k|, that is w_k proportional to 1 / mean|g_k| (the sign step
    that follows ignores the common factor). Source: stage 2 of FOUND (arXiv 2303.00200), the
    "static" strategy that AEF (arXiv 2605.00443) argues against. Not the GradNorm of Chen et al.
    (ICML 2018), which learns its weights.

    A generator without gradient gets weight 0 (the formula would give it all the weight).
    """

    name = "grad-norm"

    def __call__(self, feedback: Feedback) -> Tensor:
        g = feedback.grad_l1
        inverse = torch.where(g > 0, 1 / g.clamp_min(torch.finfo(g.dtype).tiny), 0.0)
        if inverse.sum() == 0:
            return uniform(g)
        inverse = inverse / inverse.max()  # before the sum: 1 / tiny would overflow
        return inverse / inverse.sum()


def gramian_weights(feedback: Feedback, rows: str, weighting: Any) -> tuple[Tensor, bool]:
    """Weights on the simplex from a TorchJD weighting, safe for any scale of gradients.

    Rows of the Jacobian are scaled as asked (`raw`; `l1`: by mean|g_k| as FOUND and CRBP; `l2`: by
    |g_k|), the Gramian is brought to trace 1, and the weights are expressed for the raw gradients
    again and scaled to sum 1, which the sign step ignores. A generator without gradient gets 0.
    Where a method finds no common direction (weights all zero or not finite), the scaled rows are
    averaged, since the sign step needs some direction, and the second value is True.

    Parameters
    ----------
    weighting : callable
        [m, m] Gramian to [m] non-negative weights.

    Returns
    -------
    weights : Tensor, shape [K]
    failed : bool
        Whether they are the average.

    Raises
    ------
    ValueError
        `feedback` carries no Gramian.
    """
    if feedback.gramian is None:
        raise BadInput("this rule needs Feedback.gramian: inner products of the gradients")
    gramian = feedback.gramian
    moves = gramian.diagonal() > 0
    if not moves.any():
        return uniform(feedback.strength), False
    squared = gramian.diagonal()[moves]
    scale = {
        "raw": torch.ones_like(squared),
        "l1": feedback.grad_l1[moves],
        "l2": squared.sqrt(),
    }[rows]
    scale = (scale / scale.max()).clamp_min(1e-100) if scale.max() > 0 else torch.ones_like(scale)
    scaled = gramian[moves][:, moves] / scale.outer(scale)
    scaled = scaled / scaled.diagonal().sum()
    found = weighting(scaled).clamp_min(0)
    failed = not (found.isfinite().all() and found.sum() > 0)
    found = uniform(found) if failed else normalise(found)
    weights = torch.zeros_like(feedback.strength)
    weights[moves] = normalise(found / scale)
    return weights, failed


def _check_rows(rows: str) -> None:
    if rows not in ROWS:
        raise BadInput(f"rows must be one of {', '.join(ROWS)}, got {rows!r}")


@dataclass
class MGDA(Weighting):
    """Min-norm point: the direction in which even the slowest generator gains most.

    Formula: min_w |sum_k w_k g_k|^2 over the simplex, by Frank-Wolfe.
    Source: Désidéri 2012; Sener & Koltun, NeurIPS 2018 (arXiv 1810.04650); one of ID-Guard's two
    strategies (TPAMI 2025). TorchJD's MGDAWeighting (epsilon 1e-3, 100 iterations).

    Parameters
    ----------
    rows : {"raw", "l1", "l2"}
        Scale of the gradients before solving. With raw rows the generator with the smallest
        gradient takes nearly all weight, be it the most resistant or the most saturated one.
    """

    name = "mgda"
    rows: str = "raw"

    def __post_init__(self) -> None:
        _check_rows(self.rows)

    def __call__(self, feedback: Feedback) -> Tensor:
        from torchjd.aggregation import MGDAWeighting

        weights, self.solver_failed = gramian_weights(feedback, self.rows, MGDAWeighting())
        return weights


@dataclass
class PCGrad(Stateful):
    """Gradient surgery: what points against another gradient is removed, then all are added.

    Formula: for every i, over the others j in random order: if <g_i, g_j> < 0,
    g_i <- g_i - <g_i, g_j> / |g_j|^2 g_j; d = sum_i g_i.
    Source: Yu et al., NeurIPS 2020 (arXiv 2001.06782); on L1-normalise gradients this is CRBP
    (github.com/hyy0731-zzz/CRBP). TorchJD's PCGradWeighting.

    Parameters
    ----------
    rows : {"raw", "l1", "l2"}
        Scale of the gradients before surgery; CRBP's is "l1".
    seed : int
        The random orders come from it and the number of calls so far, so that a resumed run gives
        the same bits.

    Without any conflict this is grad-norm (rows "l1") or averaging ("raw").
    """

    name = "pcgrad"
    rows: str = "l1"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_rows(self.rows)

    def __call__(self, feedback: Feedback) -> Tensor:
        from torchjd.aggregation import PCGradWeighting

        calls = int(self._memory.get("calls", 0))
        self._memory = {"calls": torch.tensor(calls + 1)}
        with torch.random.fork_rng(devices=[]):  # TorchJD draws from torch's global generator
            torch.manual_seed(self.seed * 1_000_003 + calls)
            weights, self.solver_failed = gramian_weights(feedback, self.rows, PCGradWeighting())
        return weights


@dataclass
class CAGrad(Weighting):
    """Conflict-averse descent: the best worst-case gain near the mean gradient.

    Formula: max_d min_k <g_k, d> with |d - g_0| <= c |g_0|, g_0 the mean; its dual is
    min_w <g_w, g_0> + c |g_0| |g_w| over the simplex, d = g_0 + c |g_0| g_w / |g_w|.
    Source: Liu et al., NeurIPS 2021 (arXiv 2110.14048), c from 0.2 to 0.8. CS-DFD (arXiv
    2507.21530) describes the same program for its update vector search (UVS) without formulas or
    code, so this stands for it. TorchJD's CAGradWeighting.

    Parameters
    ----------
    c : float, in [0, 1)
        Radius; 0 is averaging.
    rows : {"raw", "l1", "l2"}

    The weights 1/K + const * w are scaled to sum 1. Where the solver fails or the min-norm
    direction vanishes, the rows are averaged and `solver_failed` says so.
    """

    name = "cagrad"
    c: float = 0.5
    rows: str = "raw"

    def __post_init__(self) -> None:
        _check_rows(self.rows)
        if not 0 <= self.c < 1:
            raise BadInput(f"c must be in [0, 1), got {self.c}")

    def __call__(self, feedback: Feedback) -> Tensor:
        weights, self.solver_failed = gramian_weights(feedback, self.rows, self._solve)
        return weights

    def _solve(self, gramian: Tensor) -> Tensor:
        from cvxpy.error import SolverError
        from torchjd.aggregation import CAGradWeighting

        try:
            return CAGradWeighting(self.c)(gramian)
        except (SolverError, TypeError):  # TorchJD takes the norm of None if nothing was found
            return torch.full_like(gramian[0], torch.nan)


@dataclass
class UPGrad(Weighting):
    """Unconflicting projection: mean of the gradients, each projected so that none loses.

    Formula: d = mean_i v_i, v_i the point nearest to g_i with <v_i, g_j> >= 0 for all j.
    Source: Quinton & Rey, Jacobian descent (arXiv 2406.16232). TorchJD's UPGradWeighting.

    Parameters
    ----------
    rows : {"raw", "l1", "l2"}

    Departs from TorchJD in the solver of its small quadratic program only: non-negative least
    squares from scipy in place of quadprog. Weights are scaled to sum 1.
    """

    name = "upgrad"
    rows: str = "raw"

    def __post_init__(self) -> None:
        _check_rows(self.rows)

    def __call__(self, feedback: Feedback) -> Tensor:
        from torchjd.aggregation import UPGradWeighting

        projected = UPGradWeighting(projector=project_dual_cone)
        weights, self.solver_failed = gramian_weights(feedback, self.rows, projected)
        return weights


def project_dual_cone(u: Tensor, gramian: Tensor) -> Tensor:
    """argmin_v v' G v with v >= u for each row of `u`, shape [..., m]: TorchJD's projector.

    With G = L L' and v = u + s this is min_s |L' s + L' u| over s >= 0. As in TorchJD, 1e-4 on
    the diagonal (of a Gramian of trace 1) keeps G definite.
    """
    from scipy.optimize import nnls

    m = len(gramian)
    root = torch.linalg.cholesky(gramian + 1e-4 * torch.eye(m).to(gramian)).T.cpu().numpy()
    rows = [v + torch.from_numpy(nnls(root, -root @ v.numpy())[0]) for v in u.reshape(-1, m).cpu()]
    return torch.stack(rows).reshape(u.shape).to(u)
