"""Train the independent attribute classifier on CelebA 1-8000 (test: 8001-9000).

python -m companion.training.train_classifier --celeba CELEBA.zip
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.config import ASSETS, default_device
from aef_core.faces import FaceBatch, load_faces
from aef_core.models.base import ATTRIBUTES
from aef_core.models.judge import AttributeClassifier
from companion.training.export import save_half

SEED, EPOCHS, BATCH, LEARNING_RATE = 7, 9, 64, 4e-3
SIDE = 64  # pixels the judge reads


def augment(x: Tensor) -> Tensor:
    """Mirror, shift by up to 4 pixels, change brightness: framing must not matter."""
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    dy, dx = torch.randint(-4, 5, (2,)).tolist()
    height, width = x.shape[2:]
    x = F.pad(x, (4, 4, 4, 4), mode="reflect")
    x = x[:, :, 4 + dy : 4 + dy + height, 4 + dx : 4 + dx + width]
    return (x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1))).clamp(-1, 1)


def train(faces: FaceBatch, seed: int = SEED) -> AttributeClassifier:
    """Balanced cross-entropy: a rare attribute counts as much as its absence."""
    torch.manual_seed(seed)
    device, model = default_device(), AttributeClassifier()
    model.to(device)
    positives = faces.attributes.float().mean(dim=0).to(device)
    pos_weight = ((1 - positives) / positives).clamp(0.2, 10)
    steps = EPOCHS * (len(faces) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in tqdm(range(steps), desc="classifier", mininterval=10):
        rows = torch.randint(len(faces), (BATCH,))
        logits = model(augment(faces.images[rows]).to(device))
        target = faces.attributes[rows].float().to(device)
        loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.cpu().eval()


@torch.no_grad()
def accuracies(model: AttributeClassifier, faces: FaceBatch) -> pd.DataFrame:
    """Recall of presence and of absence, and their mean, per attribute."""
    guess = torch.cat([model(x) > 0 for x in faces.images.split(256)])
    truth = faces.attributes.bool()
    present = ((guess & truth).sum(0) / truth.sum(0)).tolist()
    absent = ((~guess & ~truth).sum(0) / (~truth).sum(0)).tolist()
    table = pd.DataFrame({"present": present, "absent": absent}, index=list(ATTRIBUTES))
    return table.assign(balanced=table.mean(axis=1)).round(3)


def main(
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="file to write")] = ASSETS / "classifier64.safetensors",
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    seed: Annotated[int, typer.Option(help="another one for a labeller of faces")] = SEED,
) -> None:
    """Train, measure on held-out faces, and write the embedded attribute classifier."""
    if threads:
        torch.set_num_threads(threads)
    model = train(load_faces("celeba", "train", root=celeba, size=SIDE), seed)
    table = accuracies(model, load_faces("celeba", "test", root=celeba, size=SIDE))
    print(table.to_string())
    balanced = dict(zip(table.index, table["balanced"].tolist(), strict=True))
    save_half(out, model.state_dict(), {"seed": seed, "balanced_accuracy": balanced})


if __name__ == "__main__":
    typer.run(main)
