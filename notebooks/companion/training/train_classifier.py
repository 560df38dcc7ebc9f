"""Train the independent judge of edits on CelebA; 20 people it has not seen say how good it is.

    python -m companion.training.train_classifier --photos FOLDER --checkpoint FILE

Ten minutes of a core with AMX (bfloat16). Stop and resume at will.
"""

import time
from copy import deepcopy
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import trange

from aef_core.atomic import replacement
from aef_core.config import ASSETS, default_device
from aef_core.models.base import ATTRIBUTES
from aef_core.models.judge import AttributeClassifier
from companion.training.export import save_half, save_table
from companion.zoo.photos import HELD_OUT_PEOPLE, Photos, load_photos

SEED, STEPS, BATCH, RATE, EVERY = 7, 2700, 48, 4e-3, 100
SIDE = 128  # pixels the judge reads
AVERAGE = 0.995  # decay of the moving average, which ships
PARTS = ("model", "average", "optimizer")  # what a checkpoint holds


def augment(x: Tensor) -> Tensor:
    """Mirror, shift by up to a 16th of the side, change contrast: framing must not matter."""
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    height, width = x.shape[2:]
    most = height // 16
    dy, dx = torch.randint(-most, most + 1, (2,)).tolist()
    x = F.pad(x, (most,) * 4, mode="reflect")
    x = x[:, :, most + dy : most + dy + height, most + dx : most + dx + width]
    return (x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1))).clamp(-1, 1)


class Training:
    """The judge, its moving average and its optimizer; every draw comes from (seed, step)."""

    def __init__(self, photos: Photos, steps: int = STEPS, batch: int = BATCH) -> None:
        torch.manual_seed(SEED)
        self.photos, self.steps, self.batch, self.at = photos, steps, batch, 0
        self.device, self.half = default_device(), False
        self.model = AttributeClassifier().to(self.device, memory_format=torch.channels_last)
        mean = get_ema_multi_avg_fn(AVERAGE)
        self.average = AveragedModel(self.model, multi_avg_fn=mean, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), RATE, weight_decay=0.02)
        self._plan()
        positives = photos.attributes.float().mean(dim=0).to(self.device)
        self.weight = ((1 - positives) / positives).clamp(0.2, 10)

    def _plan(self) -> None:
        """The rate's cycle over all steps; a resumed training may have fewer than before."""
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, RATE, total_steps=self.steps + 1, last_epoch=self.at - 1
        )

    def loss(self, model: AttributeClassifier, rows: Tensor, side: int) -> Tensor:
        """Balanced cross-entropy: a rare attribute counts as much as its absence."""
        x = augment(F.interpolate(self.photos.faces(rows), size=(side, side), mode="area"))
        x = x.to(self.device, memory_format=torch.channels_last)
        target = self.photos.attributes[rows].float().to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = model.net(x)
        return F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=self.weight)

    def step(self) -> None:
        """One step; the first two thirds of them on a quarter of the pixels, thrice as fast."""
        torch.manual_seed(SEED + self.at)
        rows = torch.randint(len(self.photos), (self.batch,))
        loss = self.loss(self.model, rows, SIDE // 2 if self.at < self.steps * 2 // 3 else SIDE)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        self.at += 1

    def choose_precision(self) -> None:
        """bfloat16 where two forward and backward passes are faster so."""
        seconds, trial = {}, deepcopy(self.model)
        rows = torch.arange(min(self.batch, len(self.photos)))
        for self.half in (False, True):
            self.loss(trial, rows, SIDE).backward()
            start = time.perf_counter()
            for _ in range(2):
                self.loss(trial, rows, SIDE).backward()
            trial.net[-1].bias.grad.sum().item()  # a GPU has not finished before
            seconds[self.half] = (time.perf_counter() - start) / 2
        self.half = seconds[True] < seconds[False]
        print(f"a step: {seconds[False]:.2f} s in float32, {seconds[True]:.2f} s in bfloat16")

    def save(self, path: Path) -> None:
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        with replacement(path) as temporary:
            torch.save(state | {"at": self.at}, temporary)

    def load(self, path: Path) -> None:
        stored = torch.load(path, map_location=self.device, weights_only=True)
        for name in PARTS:
            getattr(self, name).load_state_dict(stored[name])
        self.at = stored["at"]
        self._plan()

    def judge(self) -> AttributeClassifier:
        """The averaged network, frozen, on the CPU."""
        return deepcopy(self.average.module).cpu().eval().requires_grad_(False)


@torch.no_grad()
def accuracies(model: AttributeClassifier, photos: Photos) -> pd.DataFrame:
    """Recall of presence and of absence, and their mean, per attribute."""
    rows = torch.arange(len(photos)).split(100)
    guess = torch.cat([model(photos.faces(some)) > 0 for some in rows])
    truth = photos.attributes.bool()
    present = ((guess & truth).sum(0) / truth.sum(0)).tolist()
    absent = ((~guess & ~truth).sum(0) / (~truth).sum(0)).tolist()
    table = pd.DataFrame({"present": present, "absent": absent}, index=list(ATTRIBUTES))
    return table.assign(balanced=table.mean(axis=1), faces=truth.sum(0).tolist()).round(3)


def main(
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    checkpoint: Annotated[Path, typer.Option(help="file to stop at and to resume from")],
    out: Annotated[Path, typer.Option(help="folder to write to")] = ASSETS,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Train, measure on people it has not seen, and write the embedded judge and its table."""
    torch.set_num_threads(threads)
    training = Training(load_photos(photos, "train", SIDE))
    training.choose_precision()
    if checkpoint.exists():
        training.load(checkpoint)
    for _ in trange(training.at, training.steps, mininterval=10):
        training.step()
        if training.at % EVERY == 0 or training.at == training.steps:
            training.save(checkpoint)
    model = training.judge()
    table = accuracies(model, load_photos(photos, "test", SIDE))
    print(table.to_string(), f"mean {table['balanced'].mean():.3f}", sep="\n")
    record = {"seed": SEED, "images": STEPS * BATCH, "people held out": HELD_OUT_PEOPLE}
    record["balanced accuracy"] = table["balanced"].to_dict()
    save_half(out / "judge.safetensors", model.state_dict(), record)
    save_table(out, {"judge": ("AttributeClassifier", {}, record)}, "judge.json")


if __name__ == "__main__":
    typer.run(main)
