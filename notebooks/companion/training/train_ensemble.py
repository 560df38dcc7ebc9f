"""Train the four small attribute classifiers of notebook 11 on CelebA 1-8000 (test: 8001-9000).

python -m companion.training.train_ensemble --celeba CELEBA.zip

Half a minute each on one CPU thread.
"""

from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from tqdm.auto import tqdm

from aef_core.faces import FaceBatch, load_faces
from aef_core.models.base import columns
from companion.studies.ensemble import ATTRIBUTES, CLASSIFIERS, FOLDER, SIDE
from companion.training.export import save_half, save_table
from companion.training.train_classifier import augment

SEED, STEPS, BATCH = 5, 360, 48
RATES = {"ViT": 1.5e-3}
RATE = 4e-3


def train(name: str, faces: FaceBatch, labels: Tensor, steps: int = STEPS) -> nn.Module:
    """Balanced cross-entropy, as for the independent judge; another seed and other networks."""
    torch.manual_seed(SEED)
    model = CLASSIFIERS[name]().train()
    rate = RATES.get(name, RATE)
    positives = labels.mean(dim=0)
    pos_weight = ((1 - positives) / positives).clamp(0.2, 10)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in tqdm(range(steps), desc=name, mininterval=10):
        rows = torch.randint(len(faces), (BATCH,))
        logits = model(augment(faces.images[rows]))
        loss = F.binary_cross_entropy_with_logits(logits, labels[rows], pos_weight=pos_weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


@torch.no_grad()
def balanced_accuracy(model: nn.Module, faces: FaceBatch) -> dict[str, float]:
    """Mean of the recalls of presence and absence, per attribute."""
    guess = torch.cat([model(x) > 0 for x in faces.images.split(256)])
    truth = columns(faces.attributes, ATTRIBUTES).bool()
    present = (guess & truth).sum(0) / truth.sum(0)
    absent = (~guess & ~truth).sum(0) / (~truth).sum(0)
    means = ((present + absent) / 2).tolist()
    return {name: round(value, 3) for name, value in zip(ATTRIBUTES, means, strict=True)}


def main(
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="folder to write to")] = FOLDER,
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    steps: Annotated[int, typer.Option(help="training steps of each")] = STEPS,
) -> None:
    """Train, measure on held-out faces and write the classifiers with their table."""
    if threads:
        torch.set_num_threads(threads)
    faces = load_faces("celeba", "train", root=celeba, size=SIDE)
    held_out = load_faces("celeba", "test", root=celeba, size=SIDE)
    labels = columns(faces.attributes, ATTRIBUTES)
    for name in CLASSIFIERS:
        model = train(name, faces, labels, steps)
        accuracy = balanced_accuracy(model, held_out)
        print(name, accuracy, f"mean {sum(accuracy.values()) / len(accuracy):.3f}", flush=True)
        record = {"seed": SEED, "steps": steps, "batch": BATCH, "balanced_accuracy": accuracy}
        save_half(out / f"{name}.safetensors", model.state_dict(), record)
        save_table(out, {name: (name, {}, record)}, "ensemble.json")


if __name__ == "__main__":
    typer.run(main)
