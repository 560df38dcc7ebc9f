"""What a perturbation does to face detection: precision, recall, F1, DUQ, number of boxes."""

import pandas as pd
import torch
from torch import Tensor
from torchvision.ops import box_iou

from aef_core.faces.detection import find_faces
from aef_core.metrics.evaluation import protect

SCORE_THRESHOLD = 0.7  # TSDF's, and MTCNN's own for its last net
IOU_THRESHOLD = 0.7


def detect_boxes(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Boxes [k, 4] (pixels of the photo at 256) and scores [k] that MTCNN finds in each image."""
    found = []
    for boxes, scores in find_faces(images):
        keep = scores > SCORE_THRESHOLD
        found.append((boxes[keep], scores[keep]))
    return found


def detected(images: Tensor) -> Tensor:
    """Whether MTCNN finds a face in each image [B, 3, H, W] in [-1, 1], shape [B], bool."""
    return torch.tensor([len(boxes) > 0 for boxes, _ in find_faces(images)]).bool()


def matches(before: Tensor, after: Tensor, threshold: float = IOU_THRESHOLD) -> int:
    """How many boxes of before [k, 4] are found again in after [m, 4], each used once, best first.

    Boxes are the same face when their intersection over union reaches the threshold.
    """
    if not len(before) or not len(after):
        return 0
    iou, found = box_iou(before, after), 0
    while iou.numel() and iou.max() >= threshold:
        row, column = divmod(int(iou.argmax()), iou.shape[1])
        iou[row], iou[:, column] = -1.0, -1.0
        found += 1
    return found


def detection_scores(images: Tensor, delta: Tensor) -> pd.Series:
    """How well MTCNN still finds, in protected images, the faces it finds in clean ones.

    Formula: TP boxes found again (IoU >= 0.7), FP the other boxes after; precision = TP / after,
    recall = TP / before, F1 their harmonic mean, DUQ = (TP - FP) / before, box_change = 100 (after
    - before) / before, confidence = mean score after minus before.
    Source: TSDF's evaluate_perturbation.py; there, means of per-image ratios in which an image
    without any detection after protection counts as precision 1. Here counts are pooled over
    images.

    Parameters
    ----------
    images : Tensor, shape [N, 3, H, W], values in [-1, 1]
    delta : Tensor, shape [1 or N, 3, H, W]

    Returns
    -------
    Series with precision (NaN where nothing is detected after), recall, f1, duq, box_change (%),
    confidence, boxes_before, boxes_after; all NaN but the counts where no face was found before.
    """
    before, after = detect_boxes(images), detect_boxes(protect(images, delta.cpu()))
    found = sum(matches(a, b) for (a, _), (b, _) in zip(before, after, strict=True))
    n_before, n_after = (sum(len(boxes) for boxes, _ in side) for side in (before, after))
    certain = [torch.cat([scores for _, scores in side]).mean().item() for side in (before, after)]
    ratio = {"precision": (found, n_after), "recall": (found, n_before),
             "f1": (2 * found, n_before + n_after), "duq": (2 * found - n_after, n_before),
             "box_change": (100 * (n_after - n_before), n_before)}  # fmt: skip
    values = {name: a / b if b and n_before else float("nan") for name, (a, b) in ratio.items()}
    counts = {"boxes_before": n_before, "boxes_after": n_after}
    return pd.Series({**values, "confidence": certain[1] - certain[0], **counts})
