"""Train the unseen target: a variational autoencoder on CelebA 1-8000, then its directions.

python -m companion.training.train_vae --celeba CELEBA.zip --out runs/unseen

Minutes on one CPU thread. The noise of the decoder is fitted (sigma-VAE, Rybkin et al., ICML 2021,
arXiv 2006.13202), so reconstruction and prior need no weight between them. Strength and edits were
chosen on training faces: these five succeed most often and still leave a face; brown hair and age,
which the zoo offers too, come out right in six of ten.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor
from tqdm.auto import tqdm

from aef_core.atomic import replacement
from aef_core.faces import FaceBatch, load_faces
from aef_core.metrics import psnr
from aef_core.models import DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.judge import predict_attributes
from companion.config import ASSETS
from companion.studies.detection import detected
from companion.studies.unseen import VAE
from companion.training.export import save_half, save_table

SETTINGS = {"width": 24, "layers": 4, "latent": 32, "strength": 2.5, "inner": 64, "image_size": 128}
SEED, STEPS, BATCH, RATE, RIDGE = 11, 2000, 16, 2e-3, 1.0


def loss_of(model: VAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Negative evidence bound per pixel, its mean squared error and its divergence (nats a face).

    Formula: (P / 2) log MSE + KL, P pixels times channels, the best noise of a batch put in.
    """
    mean, log_variance = model.posterior(x)
    code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    mse = (model.generate(code) - x).square().mean()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(x)
    pixels = x[0].numel()
    return 0.5 * mse.log() + divergence / pixels, mse, divergence


def train(faces: FaceBatch, out: Path, steps: int = STEPS, every: int = 200) -> VAE:
    """Train, keeping `<out>/vae.ckpt`, from which an interrupted call goes on."""
    torch.manual_seed(SEED)
    model = VAE(**SETTINGS).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    parts, path, start = (model, optimizer, schedule), out / "vae.ckpt", 0
    if path.exists():
        *states, start = torch.load(path, weights_only=True)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    bar = tqdm(range(start, steps), initial=start, total=steps, desc="VAE", mininterval=10)
    for step in bar:
        torch.manual_seed(SEED + step)
        x = faces.images[torch.randint(len(faces), (BATCH,))]
        x = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, x.flip(3), x).to(
            memory_format=torch.channels_last
        )
        loss, mse, divergence = loss_of(model, x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            bar.write(f"{step + 1}: MSE {mse.item():.4f}, divergence {divergence.item():.0f} nats")
            with replacement(path) as temporary:
                torch.save([*(p.state_dict() for p in parts), step + 1], temporary)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def attribute_vectors(model: VAE, faces: FaceBatch) -> Tensor:
    """Least-squares effect of each attribute on the code, the others held; shape [13, C, h, w].

    A ridge of one face keeps attributes that hardly occur from exploding.
    """
    codes = torch.cat([model.posterior(x)[0].flatten(1) for x in faces.images.split(256)]).double()
    labels = faces.attributes.double()
    labels = labels - labels.mean(dim=0)
    gram = labels.T @ labels + RIDGE * torch.eye(labels.shape[1], dtype=labels.dtype)
    effect = torch.linalg.solve(gram, labels.T @ (codes - codes.mean(dim=0)))
    return effect.float().view_as(model.vectors)


@torch.no_grad()
def edit_quality(model: DeepfakeModel, faces: FaceBatch) -> pd.Series:
    """Success and fidelity of a generator's edits.

    Success: share of edits in which the independent judge sees the asked-for attribute, over faces
    that did not have it as asked before. MTCNN sees the first 40 faces of every edit.
    """
    hits, found = {}, []
    for edit in model.edits:
        target = model.target_attributes(faces.attributes, edit)
        column = attribute_index(edit)
        rows = (target != faces.attributes)[:, column]
        forged = model(faces.images, model.conditions(faces.attributes, edit))
        judged = predict_attributes(forged[rows])[:, column]
        hits[f"success {edit}"] = (judged == target[rows, column]).float().mean().item()
        found.append(detected(forged[:40]).float().mean().item())
    copied = model(faces.images, model.keep_condition(faces.images, faces.attributes))
    return pd.Series(
        {
            "edit success": sum(hits.values()) / len(hits),
            "MTCNN finds a face": sum(found) / len(found),
            "reconstruction PSNR": psnr(copied, faces.images).mean(),
            **hits,
        }
    )


def main(
    celeba: Annotated[Path, typer.Option(help="folder or zip with CelebA and its attributes")],
    out: Annotated[Path, typer.Option(help="where the checkpoint goes")] = Path("runs/unseen"),
    threads: Annotated[int, typer.Option(help="CPU threads, 0: all")] = 0,
    steps: Annotated[int, typer.Option(help="training steps")] = STEPS,
) -> None:
    """Train, find the directions, measure the edits on held-out faces, ship."""
    if threads:
        torch.set_num_threads(threads)
    side = SETTINGS["inner"]
    faces = load_faces("celeba", "train", root=celeba, size=side)
    model = train(faces, out, steps)
    model.vectors.copy_(attribute_vectors(model, faces))
    quality = edit_quality(model, load_faces("celeba", "test", n=256, root=celeba, size=side))
    print(quality.round(3).to_string())
    folder = ASSETS / "unseen"
    training = {"seed": SEED, "steps": steps, "batch": BATCH, "rate": RATE}
    training["celeba_test"] = quality.round(3).to_dict()
    save_half(folder / "VAE.safetensors", model.state_dict(), training)
    save_table(folder, {"VAE": ("VAE", SETTINGS, training)}, "zoo.json")


if __name__ == "__main__":
    typer.run(main)
