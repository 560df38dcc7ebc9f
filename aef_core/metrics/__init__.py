"""Metrics: what a perturbation does to forgeries, how evenly, how visibly, and how surely."""

from aef_core.faces.pixels import protect, psnr, ssim
from aef_core.metrics.evaluation import (
    MASK_THRESHOLD,
    SUCCESS_THRESHOLD,
    Evaluator,
    balance,
    evaluate,
    l2_mask,
    nonempty_mean,
    per_model,
)

__all__ = [
    "MASK_THRESHOLD", "SUCCESS_THRESHOLD", "Evaluator", "balance", "evaluate", "l2_mask",
    "nonempty_mean", "per_model", "protect", "psnr", "ssim",
]  # fmt: skip
