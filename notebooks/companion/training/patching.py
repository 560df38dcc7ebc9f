"""What a forger can do to a generator: patch it with low-rank adapters, or retrain it.

Source: LoRA patching (arXiv 2510.03747, IEEE SPL 33:286-290; github.com/ZOMIN28/LoRA-Patching):
rank-8 adapters on every convolution, one epoch, the pixel terms of its loss. The multi-modal terms
are left out, as they are commented out in the published code. Own implementation.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tqdm.auto import tqdm

from aef_core.errors import BadInput
from aef_core.faces import FaceBatch
from aef_core.metrics import Evaluator, l2_mask, protect
from aef_core.models import DeepfakeModel
from aef_core.perturbation.objective import seeded


class LowRank(nn.Module):
    """W + (alpha / rank) B A, for a kernel seen as a matrix of its first axis by all others.

    B starts at zero, so a fresh adapter changes nothing.

    Parameters
    ----------
    weight : Tensor, shape [a, b, k, k]
        Kernel of a (transposed) convolution.
    rank : int
        8 in the paper.
    alpha : float
        2 in the paper's code.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.a = nn.Parameter(torch.randn(rank, columns).to(weight) / columns**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank).to(weight))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a).view_as(weight)


@dataclass(frozen=True)
class Patched:
    """A repaired generator and how its repair went.

    Attributes
    ----------
    model : DeepfakeModel
        Same architecture and keys as the original, frozen, in eval mode.
    losses : list of float
        Mean training loss of each epoch.
    parameters : int
        Numbers that were trained.
    """

    model: DeepfakeModel
    losses: list[float]
    parameters: int


def adapters(model: DeepfakeModel, rank: int = 8, alpha: float = 2.0) -> DeepfakeModel:
    """A copy of a generator with an adapter on every convolution; only adapters are trainable."""
    if rank < 1:
        raise BadInput(f"rank is out of range: {rank}, must be at least 1")
    copy = deepcopy(model).requires_grad_(False)
    kernels = [m for m in copy.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for module in kernels:
        parametrize.register_parametrization(
            module, "weight", LowRank(module.weight, rank, alpha), unsafe=True
        )
    return copy


def merged(model: DeepfakeModel) -> DeepfakeModel:
    """A copy with the adapters folded into the kernels: keys and cost of the original again."""
    copy = deepcopy(model)
    for module in copy.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return copy.eval().requires_grad_(False)


def adapt(
    model: DeepfakeModel,
    faces: FaceBatch,
    delta: Tensor | None,
    *,
    rank: int = 8,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    eps: float = 0.05,
    attack_steps: int = 10,
    seed: int = 0,
) -> Patched:
    """LoRA patching: teach a generator, through adapters alone, to see past a perturbation.

    Formula: minimise MSE(G'(x), G(x)) + MSE(G'(x_adv), G(x)) over the adapters; Adam, betas
    (0.5, 0.999), batch 4, a random edit per batch.

    Parameters
    ----------
    faces : FaceBatch
        The forger's own clean faces.
    delta : Tensor, shape [1, 3, H, W], or None
        The leaked universal perturbation, x_adv = x + delta; None: x_adv is made against G' itself
        at every step by PGD (`attack_steps` steps of 0.01 within `eps`), as in the paper.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = adapters(model, rank)
    attack = _pgd(eps, attack_steps) if delta is None else _add(delta)
    losses, count = _distil(model, student, faces, attack, epochs, learning_rate, seed)
    return Patched(merged(student), losses, count)


def retrain(
    model: DeepfakeModel,
    faces: FaceBatch,
    delta: Tensor,
    *,
    epochs: int = 1,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> Patched:
    """Adversarial retraining: the same objective over all weights, on protected faces.

    The forger needs the perturbation (or the tool that adds it) and the original generator, which
    gives the targets; no critic is trained. Departs from TSDF's retraining, which trains on with a
    fresh discriminator for thousands of steps.
    """
    student = deepcopy(model).requires_grad_(True)
    losses, count = _distil(model, student, faces, _add(delta), epochs, learning_rate, seed)
    return Patched(student.eval().requires_grad_(False), losses, count)


Attack = Callable[[DeepfakeModel, Tensor, Tensor, Tensor], Tensor]


def _add(delta: Tensor) -> Attack:
    return lambda student, x, c, target: (x + delta.to(x)).clamp(-1, 1)


def _pgd(eps: float, steps: int, step_size: float = 0.01) -> Attack:
    def attack(student: DeepfakeModel, x: Tensor, c: Tensor, target: Tensor) -> Tensor:
        d = eps * (2 * torch.rand(x.shape, generator=seeded(0, "start")) - 1).to(x)
        for _ in range(steps):
            d.requires_grad_()
            (g,) = torch.autograd.grad(F.mse_loss(student((x + d).clamp(-1, 1), c), target), d)
            d = (d.detach() + step_size * g.sign()).clamp(-eps, eps)
        return (x + d.detach()).clamp(-1, 1)

    return attack


def _distil(
    teacher: DeepfakeModel,
    student: DeepfakeModel,
    faces: FaceBatch,
    attack: Attack,
    epochs: int,
    learning_rate: float,
    seed: int,
    batch: int = 4,
) -> tuple[list[float], int]:
    device = next(teacher.parameters()).device
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, learning_rate, betas=(0.5, 0.999))
    draw, losses = seeded(seed, "patching"), []
    student.eval()  # batch statistics stay those the generator is used with
    for _ in tqdm(range(epochs), desc=f"patching {teacher.name}", leave=False):
        total = 0.0
        for rows in torch.randperm(len(faces), generator=draw).split(batch):
            edit = teacher.edits[int(torch.randint(len(teacher.edits), (), generator=draw))]
            x = faces.images[rows].to(device)
            c = teacher.conditions(faces.attributes[rows].to(device), edit)
            with torch.no_grad():
                target = teacher(x, c)
            adversarial = attack(student, x, c, target)
            loss = F.mse_loss(student(x, c), target) + F.mse_loss(student(adversarial, c), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(faces))
    return losses, sum(p.numel() for p in trained)


def repair_table(
    evaluator: Evaluator,
    name: str,
    repaired: Mapping[str, DeepfakeModel],
    known: Tensor,
    fresh: Mapping[str, Tensor],
) -> pd.DataFrame:
    """What repairs are worth: distance of G' from the untouched forgery G(x), as mean L2_mask.

    Parameters
    ----------
    evaluator : Evaluator
        Holds the original generator `name`; its faces are unseen by all.
    repaired : mapping of label to DeepfakeModel
        The original among them, for comparison.
    known : Tensor, shape [1, 3, H, W]
        The perturbation that the forger had.
    fresh : mapping of label to Tensor
        For each, a new perturbation made against it.

    Returns
    -------
    DataFrame indexed by label: `clean photos` (what the repair costs the forger), `known
    perturbation`, `new perturbation`.
    """
    images = evaluator.faces.images

    def distance(model: DeepfakeModel, x: Tensor) -> float:
        judge = Evaluator({name: model}, evaluator.faces, evaluator.batch)
        values = [
            l2_mask(evaluator.forged(name, edit), judge.forge(x, name, edit), images)
            for edit in model.edits
        ]
        return torch.cat(values).nanmean().item()

    rows = {
        label: {
            "clean photos": distance(model, images),
            "known perturbation": distance(model, protect(images, known)),
            "new perturbation": distance(model, protect(images, fresh[label])),
        }
        for label, model in repaired.items()
    }
    return pd.DataFrame(rows).T
