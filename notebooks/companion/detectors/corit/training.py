"""Train a detector under SAM at one radius, and say whether it collapsed."""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from aef_core.errors import BadInput
from companion.detectors.corit.contrastive import draw, mirrored
from companion.detectors.corit.sam import SAM, weight_norm
from companion.detectors.corit.vit import Detector, norm_parameters

CHANCE_AUC, CHANCE_LOSS = 0.55, 0.98 * math.log(2)  # of a collapsed run
LATE = 0.1  # of the steps, for the train loss


@dataclass(frozen=True)
class Task:
    """Real and fake images of one kind, trained on and validated on.

    Attributes
    ----------
    name : str
    images, labels : Tensor, shape [N, 3, S, S] in [-1, 1], and [N], real 0, fake 1
    val_images, val_labels : Tensor
        The same, of other faces.
    """

    name: str
    images: Tensor
    labels: Tensor
    val_images: Tensor
    val_labels: Tensor

    def __post_init__(self) -> None:
        for labels in (self.labels, self.val_labels):
            if set(labels.unique().tolist()) != {0, 1}:
                raise BadInput(f"task {self.name} needs both labels, real 0 and fake 1")


@dataclass(frozen=True)
class SamConfig:
    """One training under SAM; `lr` and `steps` are reconstructed.

    Attributes
    ----------
    rho : float
        Radius of SAM.
    optimiser : {"sgd", "adam"}
        What SAM wraps: the field's SGD with momentum. Adam pre-trains on blends.
    adaptive, norm_only : bool
        ASAM; a perturbation of the normalisation layers alone.
    warm_start : float
        Share of the steps done by SGD before SAM begins.
    """

    rho: float = 0.05
    steps: int = 300
    batch: int = 32
    lr: float = 1e-2
    momentum: float = 0.9
    optimiser: str = "sgd"
    adaptive: bool = False
    norm_only: bool = False
    warm_start: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.warm_start <= 1:
            raise BadInput(f"warm_start is a share of the steps, 0 to 1, got {self.warm_start}")
        if self.steps < 1 or self.batch < 2:
            raise BadInput(f"{self.steps} steps of {self.batch}: at least 1 step of 2 images")
        if self.optimiser not in ("sgd", "adam"):
            raise BadInput(f"unknown optimiser {self.optimiser!r}; known: sgd, adam")


@dataclass(frozen=True)
class Outcome:
    """What one training came to.

    Attributes
    ----------
    losses : list of float
        Train loss at every step, at w.
    auc : float
        On the validation faces, after the last step.
    weight_norm : float
        |w| at the start: what the radius is compared with.
    """

    config: SamConfig
    losses: list[float]
    auc: float
    weight_norm: float

    @property
    def train_loss(self) -> float:
        """Mean over the last tenth of the steps."""
        late = max(1, round(LATE * len(self.losses)))
        return float(np.mean(self.losses[-late:]))

    @property
    def collapsed(self) -> bool:
        """Whether nothing was learnt: chance on validation, and a train loss of ln 2."""
        return is_collapsed(self.auc, self.train_loss)


def is_collapsed(auc: float, train_loss: float) -> bool:
    """Validation AUC < 0.55 and train loss > 0.98 ln 2; a loss that is not finite collapsed too."""
    if not math.isfinite(train_loss):
        return True
    return auc < CHANCE_AUC and train_loss > CHANCE_LOSS


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve by ranks, ties counted half; 0.5 where scores are not finite."""
    s, fake = scores.double().cpu().numpy(), labels.bool().cpu().numpy()
    if not np.isfinite(s).all():
        return 0.5
    n = fake.sum()
    return float((rankdata(s)[fake].sum() - n * (n + 1) / 2) / (n * (~fake).sum()))


def balanced(labels: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Rows of one batch, half of them real, half fake."""
    halves = [(labels == value).nonzero().flatten() for value in (0, 1)]
    return torch.cat([half[draw(len(half), batch // 2, generator)] for half in halves])


def train_detector(detector: Detector, task: Task, config: SamConfig) -> Outcome:
    """Train all of a detector in place; the last step's weights are judged, none is picked.

    Parameters
    ----------
    detector : Detector
    task : Task
    config : SamConfig

    Returns
    -------
    Outcome
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = make_optimiser(detector, config)
    only = norm_parameters(detector) if config.norm_only else None
    radii = {"rho": config.rho, "adaptive": config.adaptive, "perturbed": only}
    sam, length = SAM(detector, optimiser, **radii), weight_norm(detector.parameters())
    plain = SAM(detector, optimiser, rho=0.0)
    losses = []
    detector.train()
    for step in range(config.steps):
        rows = balanced(task.labels, config.batch, generator)
        images, labels = mirrored(task.images[rows], generator), task.labels[rows].float()
        warm = step < config.warm_start * config.steps
        loss = partial(bce, detector, images, labels)
        losses.append((plain if warm else sam).step(loss).item())
    return Outcome(config, losses, auc(detector.score(task.val_images), task.val_labels), length)


def make_optimiser(detector: Detector, config: SamConfig) -> torch.optim.Optimizer:
    """What SAM wraps."""
    if config.optimiser == "adam":
        return torch.optim.Adam(detector.parameters(), lr=config.lr)
    return torch.optim.SGD(detector.parameters(), lr=config.lr, momentum=config.momentum)


def bce(detector: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the logits, mean over the batch."""
    return F.binary_cross_entropy_with_logits(detector(images), labels)


def with_label_noise(task: Task, share: float, seed: int = 0) -> Task:
    """The task with this share of its train labels drawn anew: the GSNR falls, the images stay."""
    if not 0 <= share <= 1:
        raise BadInput(f"the share of noisy labels lies in 0 to 1, got {share}")
    generator = torch.Generator().manual_seed(seed)
    noisy = torch.rand(len(task.labels), generator=generator) < share
    drawn = torch.randint(2, task.labels.shape, generator=generator).to(task.labels)
    labels = torch.where(noisy.to(drawn.device), drawn, task.labels)
    return replace(task, name=f"{task.name}, {share:.0%} noise", labels=labels)
