"""TSDF's second target: a real face detector, whose failure spoils a forger's training data.

MTCNN (Zhang et al. 2016, arXiv 1604.02878; facenet-pytorch, weights in its wheel) has three nets:
P proposes windows on an image pyramid, R and O judge crops of 24 and 48 pixels. Gradients flow from
the scores of all three to the photo; which windows count is taken from the clean photo.
"""

from collections.abc import Mapping
from functools import lru_cache

import torch
import torch.nn.functional as F
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import Tensor, nn

from aef_core.faces import FaceBatch
from aef_core.faces.detection import MARGIN, SIDE, find_faces
from aef_core.perturbation.objective import Objective, References

PYRAMID = (39, 28, 20, 14)  # sides at which a face that fills half the photo meets P's 12 pixels
GAIN = 127.5 * 0.0078125  # MTCNN's normalisation of a pixel, from [-1, 1]
SCALES = (0.9, 1.0, 1.1)  # of the clean box: P and R will not propose exactly the same one
FIRES = 0.405  # logit of a face probability of 0.6, P's own threshold


class DetectorNets(nn.Module):
    """MTCNN's nets as one differentiable function of photos and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    def forward(self, x: Tensor, boxes: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Face logits log(P(face) / P(no face)) of nets "p", "r" and "o", each of shape
        [B, windows], and the features under those of "r" and "o", [B, windows * 384].

        Photos x have shape [B, 3, H, W] and values in [-1, 1], boxes [B, 4] left, top, right and
        bottom of the face, in pixels of the photo enlarged to 256.
        """
        large = GAIN * F.interpolate(x, size=(SIDE, SIDE), mode="bicubic").clamp(-1, 1)
        pyramid = [F.interpolate(large, size=(side, side), mode="area") for side in PYRAMID]
        scores = [_score(self.pnet, self.pnet.conv4_1, level)[0].flatten(1) for level in pyramid]
        r, r_feature = _score(self.rnet, self.rnet.dense5_1, _crops(large, boxes, 24))
        o, o_feature = _score(self.onet, self.onet.dense6_1, _crops(large, boxes, 48))
        logits = {"p": torch.cat(scores, dim=1), "r": r.view(len(x), -1), "o": o.view(len(x), -1)}
        features = [feature.reshape(len(x), -1) for feature in (r_feature, o_feature)]
        return logits, torch.cat(features, dim=1)


def _score(net: nn.Module, last: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A net's face logits, before its softmax, which saturates; and what its last layer saw."""
    passed = []
    with last.register_forward_hook(lambda _, inputs, output: passed.append((output, *inputs))):
        net(x)
    ((output, feature),) = passed
    return output[:, 1] - output[:, 0], feature


def _crops(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Squares around the boxes at three scales, cut and shrunk as MTCNN does, [B * 3, 3, s, s]."""
    crops = []
    for image, (left, top, right, bottom) in zip(images, boxes.tolist(), strict=True):
        for scale in SCALES:
            half = scale * max(right - left, bottom - top) / 2
            columns, rows = _span((left + right) / 2, half), _span((top + bottom) / 2, half)
            part = image[None, :, rows, columns]
            crops.append(F.interpolate(part, size=(side, side), mode="area"))
    return torch.cat(crops)


def _span(middle: float, half: float) -> slice:
    """Whole pixels from middle - half to middle + half, at least two of them in the photo."""
    first = max(0, min(SIDE - 2, round(middle - half)))
    return slice(first, max(first + 2, min(SIDE, round(middle + half))))


@lru_cache(maxsize=2)
def detection_target(device: torch.device) -> Mapping[str, DetectorNets]:
    """The detector in the place of a zoo: `{"MTCNN": nets}`, frozen."""
    return {"MTCNN": DetectorNets().eval().requires_grad_(False).to(device)}


def face_boxes(images: Tensor) -> Tensor:
    """The largest face MTCNN finds in each photo, shape [N, 4], pixels of the photo at 256.

    Where it finds none, the box of a face in CelebA's framing: a better detector may find it.
    """
    half = SIDE / MARGIN / 2
    framed = [SIDE / 2 - half, SIDE / 2 - half, SIDE / 2 + half, SIDE / 2 + half]
    found = [boxes[0].tolist() if len(boxes) else framed for boxes, _ in find_faces(images)]
    return torch.tensor(found)


@torch.no_grad()
def detector_references(
    target: Mapping[str, DetectorNets], faces: FaceBatch, seed: int, batch: int
) -> dict[str, References]:
    """What the detector sees in the clean faces: boxes, logits and features."""
    ((name, nets),) = target.items()
    boxes = face_boxes(faces.images).to(next(nets.parameters()).device)
    pairs = zip(faces.images.split(batch), boxes.split(batch), strict=True)
    parts = [nets(x.to(b.device), b) for x, b in pairs]
    logits = torch.cat([torch.cat(list(z.values()), dim=1) for z, _ in parts])
    return {name: References(boxes, logits, torch.cat([features for _, features in parts]))}


def detector_failure(
    nets: DetectorNets, x: Tensor, reference: References, rows: Tensor, feature_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """How far the detector is from the face it found: strength, its score and its feature term.

    Formula: scores: 1 - mean over nets of sum softplus(z') / sum softplus(z), over the windows that
    fired on the clean photo (face logit z above 0.405); softplus(z) = -log P(no face), whose
    gradient does not vanish while the detector is sure. Features: 1 - mean (f' + f)^2 / 4 mean f^2,
    that is, f' is drawn to -f. Photo by photo, then their mean, so that micro-batches add up. Both
    are 0 on the clean photo and at most 1.
    Source: L_out and L_feat of TSDF's face_poison_integration.py; the box term is left out.
    """
    clean = reference.at(rows)
    logits, features = nets(x, clean.conditions)
    left, widths = [], [z.shape[1] for z in logits.values()]
    for moved, before in zip(logits.values(), clean.outputs.split(widths, dim=1), strict=True):
        fired = (before > FIRES).to(before)
        now, was = ((fired * F.softplus(z)).sum(dim=1) for z in (moved, before))
        left.append(torch.where(fired.any(dim=1), now / was.clamp_min(1e-6), 1.0))
    score = 1 - torch.stack(left).mean()
    f = clean.features
    drawn = (features + f).square().mean(dim=1) / (4 * f.square().mean(dim=1))
    feature = 1 - drawn.mean()
    return (1 - feature_weight) * score + feature_weight * feature, score, feature


DETECTION = Objective("detector", detector_references, detector_failure)
