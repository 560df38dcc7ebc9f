"""Floating point operations of a step, counted; and what they take at a stated speed, computed.

Nothing here is a measurement of time.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from aef_core.faces import FaceBatch
from aef_core.models import DeepfakeModel
from aef_core.perturbation.objective import Zoo
from companion.bench.subjects import noise_faces

PAPER_HOURS = 0.23  # AEF's training time as its paper's results table has it; hardware not known
# NVIDIA's data sheet for the H200 SXM, dense, TFLOP/s
H200_PEAK = {"float32": 67.0, "tf32": 494.7, "bf16": 989.5}
FLOATING_POINT = "a multiplication and an addition count as two"


def image_flops(zoo: Zoo, size: int, counted_at: int = 64) -> pd.DataFrame:
    """FLOPs for one image: a row a generator, columns forward, step and feature_step.

    `step` is a forward and a backward to the input; `feature_step` the same of the encoder alone.
    Counted at `counted_at` pixels and scaled by the area, which is exact for convolutions. Only
    convolutions and matrix products count (98 % and more of the work).

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    size : int
        Pixels a side.
    """
    faces = noise_faces(1, counted_at)
    rows = {name: _model_flops(model, faces) for name, model in zoo.items()}
    return pd.DataFrame(rows).T * (size / counted_at) ** 2


def _model_flops(model: DeepfakeModel, faces: FaceBatch) -> dict[str, int]:
    device = next(model.parameters()).device
    leaf = faces.images.to(device).requires_grad_()
    x = leaf.clone()  # the counter's hooks do not stand a leaf as a module's input
    c = model.conditions(faces.attributes.to(device), model.edits[0])
    with torch.no_grad():
        forward = _count(lambda: model(x, c))
    step = _count(lambda: _backward(model.forward_with_feature(x, c), leaf))
    feature = _count(lambda: _backward(model.encode(x, c)[:1], leaf))
    return {"forward": forward, "step": step, "feature_step": feature}


def _backward(results: tuple[torch.Tensor, ...], x: torch.Tensor) -> None:
    torch.autograd.grad(results, x, [torch.ones_like(r) for r in results])


def _count(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def schedule_flops(
    per_image: pd.DataFrame,
    images: int = 128,
    batch: int = 8,
    epochs: int = 30,
    feature_steps: int = 3,
) -> pd.Series:
    """FLOPs of a whole optimisation, the paper's schedule by default, as we and as they run it.

    Ours: clean references once, encoders in feature steps, gradients of the input only. Published
    style: whole generators, clean and protected, in all steps; gradients of the weights too, which
    cost as much again as those of the input.

    Returns
    -------
    Series with steps, references, ours, published (FLOPs).
    """
    forward, step, feature = (per_image[k].sum() for k in ("forward", "step", "feature_step"))
    shown = epochs * images
    references = images * forward
    ours = references + shown * (step + feature_steps * feature)
    encoder = feature / 2  # a forward; its backward to the input costs about the same
    outer = forward + step + (step - forward)
    inner = 2 * forward + 2 * (feature - encoder)
    published = shown * (outer + feature_steps * inner)
    return pd.Series(
        {
            "steps": epochs * images // batch,
            "references": references,
            "ours": ours,
            "published": published,
        }
    )


def arithmetic(flops: float, utilisation: float = 0.4) -> pd.DataFrame:
    """Seconds an H200 would need for so many FLOPs at a share of its peak: arithmetic, no more."""
    rows = {
        precision: {
            "peak TFLOP/s": peak,
            "assumed utilisation": utilisation,
            "seconds": flops / (utilisation * peak * 1e12),
        }
        for precision, peak in H200_PEAK.items()
    }
    return pd.DataFrame(rows).T


def needed_tflops(flops: float, seconds: float) -> float:
    """TFLOP/s that must be sustained to finish in so many seconds."""
    return flops / seconds / 1e12
