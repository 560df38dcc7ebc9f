"""Train the independent attribute classifier that judges edits, on the zoo's photographs.

python -m companion.zoo.judge --photos FOLDER
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from tqdm.auto import trange

from aef_core.config import ASSETS, default_device
from aef_core.models.base import ATTRIBUTES
from aef_core.models.judge import AttributeClassifier
from companion.zoo.export import save_half
from companion.zoo.games import mirrored
from companion.zoo.photos import Photos, load_photos

SEED, EPOCHS, BATCH, RATE = 7, 9, 64, 4e-3
REACH = 8  # pixels of shift


def augment(x: Tensor) -> Tensor:
    """Mirrored, shifted, dimmed, some softened: neither framing nor sharpness must matter."""
    if torch.rand(()) < 0.3:  # as the half-size photographs are
        small = F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True)
        x = F.interpolate(small, size=x.shape[2:], mode="bilinear")
    side = x.shape[-1]
    dy, dx = torch.randint(2 * REACH + 1, (2,)).tolist()
    x = F.pad(mirrored(x), [REACH] * 4, mode="reflect")[:, :, dy : dy + side, dx : dx + side]
    return (x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1, device=x.device))).clamp(-1, 1)


def train(photos: Photos, epochs: int = EPOCHS, seed: int = SEED) -> AttributeClassifier:
    """Balanced cross-entropy: a rare attribute counts as much as its absence."""
    torch.manual_seed(seed)
    device = photos.pixels.device
    model, labels = AttributeClassifier().to(device), photos.attributes.float()
    share = labels.mean(dim=0)
    pos_weight = ((1 - share) / share).clamp(0.2, 10)
    steps = epochs * (len(photos) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in trange(steps, desc="judge", mininterval=10):
        rows = torch.randint(len(photos), (BATCH,), device=device)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(augment(photos.faces(rows)))
        loss = F.binary_cross_entropy_with_logits(
            logits.float(), labels[rows], pos_weight=pos_weight
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.cpu().eval()


@torch.no_grad()
def accuracies(model: AttributeClassifier, photos: Photos) -> pd.DataFrame:
    """Recall of presence and of absence, and their mean, per attribute."""
    parts = torch.arange(len(photos)).split(128)
    guess = torch.cat([model(photos.faces(rows)) > 0 for rows in parts])
    truth = photos.attributes.bool()
    present = ((guess & truth).sum(0) / truth.sum(0)).tolist()
    absent = ((~guess & ~truth).sum(0) / (~truth).sum(0)).tolist()
    table = pd.DataFrame({"present": present, "absent": absent}, index=list(ATTRIBUTES))
    return table.assign(balanced=table.mean(axis=1)).round(3)


def main(
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    out: Annotated[Path, typer.Option(help="file to write")] = ASSETS / "judge.safetensors",
    epochs: Annotated[int, typer.Option(help="passes over the photographs")] = EPOCHS,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Train, measure on held-out people, and write the embedded attribute classifier."""
    torch.set_num_threads(threads)
    size = AttributeClassifier().size
    model = train(load_photos(photos, "train", size).to(default_device()), epochs)
    table = accuracies(model, load_photos(photos, "test", size))
    print(table.to_string())
    balanced = dict(zip(table.index, table["balanced"].tolist(), strict=True))
    save_half(out, model.state_dict(), {"seed": SEED, "balanced_accuracy": balanced})


if __name__ == "__main__":
    typer.run(main)
