"""TSDF's second target: a real face detector, whose failure spoils a forger's training data.

MTCNN (Zhang et al. 2016, arXiv 1604.02878; facenet-pytorch, weights in its wheel) has three nets:
P proposes windows on an image pyramid, R and O judge crops of 24 and 48 pixels. All three are plain
convolutions, so the gradient flows from their scores back to the photo; only the choice of windows
is not differentiable, and that is taken from the clean photo.
"""

from collections.abc import Callable, Mapping
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
        self._inputs: dict[str, Tensor] = {}
        for name, layer in {
            "p": self.pnet.softmax4_1,
            "r": self.rnet.softmax5_1,
            "o": self.onet.softmax6_1,
            "r feature": self.rnet.dense5_1,
            "o feature": self.onet.dense6_1,
        }.items():  # hooks see the logits before the softmax, which saturates
            layer.register_forward_pre_hook(self._keep(name))

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._inputs[name] = inputs[0]

        return hook

    def forward(self, x: Tensor, boxes: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Face logits of every net, and the features under R's and O's scores.

        Parameters
        ----------
        x : Tensor, shape [B, 3, H, W], values in [-1, 1]
        boxes : Tensor, shape [B, 4]
            Left, top, right, bottom of the face, in pixels of the photo enlarged to 256.

        Returns
        -------
        logits : dict of "p", "r", "o" to Tensor, shape [B, cells] or [B, crops]
            log(P(face) / P(no face)).
        features : Tensor, shape [B, crops * 384]
        """
        large = GAIN * F.interpolate(x, size=(SIDE, SIDE), mode="bicubic").clamp(-1, 1)
        proposals = []
        for side in PYRAMID:
            self.pnet(F.interpolate(large, size=(side, side), mode="area"))
            proposals.append(_margin(self._inputs["p"]).flatten(1))
        logits, features = {"p": torch.cat(proposals, dim=1)}, []
        for name, net, side in (("r", self.rnet, 24), ("o", self.onet, 48)):
            net(_crops(large, boxes, side))
            logits[name] = _margin(self._inputs[name]).view(len(x), len(SCALES))
            features.append(self._inputs[f"{name} feature"].reshape(len(x), -1))
        self._inputs.clear()
        return logits, torch.cat(features, dim=1)


def _margin(logits: Tensor) -> Tensor:
    return logits[:, 1] - logits[:, 0]


def _crops(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Squares around the boxes at three scales, cut and shrunk as MTCNN does, [B * 3, 3, s, s]."""
    crops = []
    for image, box in zip(images, boxes.tolist(), strict=True):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        for scale in SCALES:
            half = scale * max(box[2] - box[0], box[3] - box[1]) / 2
            left, top = (max(0, min(SIDE - 2, round(c - half))) for c in (x, y))
            right, bottom = (
                max(s + 2, min(SIDE, round(c + half))) for s, c in ((left, x), (top, y))
            )
            part = image[None, :, top:bottom, left:right]
            crops.append(F.interpolate(part, size=(side, side), mode="area"))
    return torch.cat(crops)


@lru_cache(maxsize=2)
def detection_target(device: torch.device) -> Mapping[str, DetectorNets]:
    """The detector in the place of a zoo: `{"MTCNN": nets}`, frozen."""
    return {"MTCNN": DetectorNets().eval().requires_grad_(False).to(device)}


def face_boxes(images: Tensor) -> Tensor:
    """The largest face MTCNN finds in each photo, shape [N, 4], pixels of the photo at 256.

    Where it finds none, the box a face has in CelebA's framing: there is still something to keep
    hidden from a detector that is a little better.
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
    (name, nets), boxes = next(iter(target.items())), face_boxes(faces.images)
    device = next(nets.parameters()).device
    parts = [
        nets(x.to(device), b.to(device))
        for x, b in zip(faces.images.split(batch), boxes.split(batch), strict=True)
    ]
    logits = torch.cat([torch.cat([z[k] for k in ("p", "r", "o")], dim=1) for z, _ in parts])
    return {name: References(boxes.to(device), logits, torch.cat([f for _, f in parts]))}


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
    logits, features = nets(x, reference.conditions[rows])
    clean = reference.outputs[rows].split([z.shape[1] for z in logits.values()], dim=1)
    left = []
    for moved, before in zip(logits.values(), clean, strict=True):
        fired = (before > FIRES).to(before)
        now, was = ((fired * F.softplus(z)).sum(dim=1) for z in (moved, before))
        left.append(torch.where(fired.any(dim=1), now / was.clamp_min(1e-6), 1.0))
    score = 1 - torch.stack(left).mean()
    f = reference.features[rows]
    drawn = (features + f).square().mean(dim=1) / (4 * f.square().mean(dim=1))
    feature = 1 - drawn.mean()
    return (1 - feature_weight) * score + feature_weight * feature, score, feature


DETECTION = Objective("detector", detector_references, detector_failure)
