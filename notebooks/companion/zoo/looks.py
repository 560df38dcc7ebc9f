"""A look at a generator along the way: a picture, and the numbers its bars are about."""

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from aef_core.atomic import replacement
from aef_core.faces import to_uint8
from aef_core.metrics import SUCCESS_THRESHOLD, l2_mask
from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from companion.zoo.photos import Photos

SHOWN = (3, 47, 125, 210, 333, 480)  # rows of the held-out photographs in every picture
EPS = 0.05


@torch.no_grad()
def look(model: DeepfakeModel, photos: Photos, picture: Path, n: int = 120) -> dict:
    """Save held-out faces x edits as `picture`; return edit success, copies' PSNR, fragility."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    _save_grid(model, photos, picture)
    rows = torch.arange(0, len(photos), len(photos) // n)[:n]
    x, attributes = photos.faces(rows).to(device), photos.attributes[rows]
    success = {}
    for edit in model.edits:
        target = model.target_attributes(attributes, edit)
        column = attribute_index(edit)
        asked = (target != attributes)[:, column]
        c = model.conditions(attributes[asked], edit).to(device)
        judged = predict_attributes(model(x[asked], c).float().cpu())[:, column]
        success[edit] = round((judged == target[asked, column]).float().mean().item(), 3)
    copies = model(x, model.keep_condition(x, attributes)).float()
    psnr = 10 * torch.log10(4 / (copies - x).square().mean()).item()
    interrupted, share = fragility(model, photos)
    model.train(training)
    return {
        "success": success,
        "mean": round(sum(success.values()) / len(success), 3),
        "copies_db": round(psnr, 2),
        "L2_mask": round(interrupted, 4),
        "SR_mask": round(share, 3),
    }


def fragility(model: DeepfakeModel, photos: Photos) -> tuple[float, float]:
    """Mean L2_mask, and share above 0.05, of a single-model perturbation on unseen faces."""
    values = disturbed(model, photos, single_model_perturbation(model, photos))
    return values.mean().item(), (values > SUCCESS_THRESHOLD).float().mean().item()


def single_model_perturbation(
    model: DeepfakeModel, photos: Photos, steps: int = 60, seed: int = 0
) -> Tensor:
    """Sign steps of eps / 20 with momentum 0.8 on the output MSE, batches of 8, at eps 0.05.

    The first 400 held-out photographs optimise; edits take turns. Returns [1, 3, S, S].
    """
    device = next(model.parameters()).device
    rng = torch.Generator().manual_seed(seed)
    side = photos.pixels.shape[-1]
    delta = (torch.rand(1, 3, side, side, generator=rng).to(device) - 0.5) * 0.02
    momentum = torch.zeros_like(delta)
    for step in range(steps):
        rows = torch.randint(400, (8,), generator=rng)
        x = photos.faces(rows).to(device)
        edit = model.edits[step % len(model.edits)]
        with torch.no_grad():
            c = model.conditions(photos.attributes[rows], edit).to(device)
            clean = model(x, c)
        with torch.enable_grad():
            moving = delta.clone().requires_grad_()
            loss = F.mse_loss(model((x + moving).clamp(-1, 1), c), clean)
            (gradient,) = torch.autograd.grad(loss, moving)
        momentum = 0.8 * momentum + gradient / gradient.abs().mean()
        delta = (delta + EPS / 20 * momentum.sign()).clamp(-EPS, EPS)
    return delta


@torch.no_grad()
def disturbed(model: DeepfakeModel, photos: Photos, delta: Tensor, n: int = 40) -> Tensor:
    """L2_mask of every (photograph, edit) pair with a non-empty mask, on the last `n` rows."""
    device = next(model.parameters()).device
    rows = torch.arange(len(photos) - n, len(photos))
    x, found = photos.faces(rows).to(device), []
    for edit in model.edits:
        c = model.conditions(photos.attributes[rows], edit).to(device)
        clean, moved = model(x, c), model((x + delta).clamp(-1, 1), c)
        found.append(l2_mask(clean, moved, x))
    values = torch.cat(found)
    return values[~values.isnan()]


def _save_grid(model: DeepfakeModel, photos: Photos, path: Path) -> None:
    device = next(model.parameters()).device
    rows = torch.tensor(SHOWN)
    x, attributes = photos.faces(rows).to(device), photos.attributes[rows]
    shown = [x, model(x, model.keep_condition(x, attributes))]
    shown += [model(x, model.conditions(attributes, edit).to(device)) for edit in model.edits]
    grid = torch.cat([torch.cat(list(faces), 2) for faces in shown], 1)
    pixels = to_uint8(grid).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(pixels)
    large = image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC)
    with replacement(path) as temporary:
        large.save(temporary)
