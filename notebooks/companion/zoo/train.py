"""Train one generator of the embedded zoo; stop and resume at will.

    python -m companion.zoo.train AttGAN --photos FOLDER --out FOLDER

Every checkpoint leaves a picture of held-out faces and a line of measurements.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from aef_core.config import default_device
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.weights import load_weights
from companion.zoo.critic import Backbone, FrozenFeatures
from companion.zoo.looks import look
from companion.zoo.photos import load_photos
from companion.zoo.recipes import RECIPES
from companion.zoo.training import Training

SOFT_FROM = 128  # pixels above which photographs of half size are too soft to learn from


def read_average(path: Path) -> DeepfakeModel:
    """The averaged generator of a checkpoint, frozen, in eval mode, on the CPU."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    recipe = RECIPES[path.stem]
    model = ARCHITECTURES[recipe.model](**recipe.settings)
    model.load_state_dict(stored["average"])
    return model.eval().requires_grad_(False)


def main(
    model: Annotated[str, typer.Argument(help="StarGAN, AttentionGAN, AttGAN or HiSD")],
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    out: Annotated[Path, typer.Option(help="where checkpoints, log and pictures go")],
    size: Annotated[int, typer.Option(help="pixels, 0: the recipe's")] = 0,
    batch: Annotated[int, typer.Option(help="faces a step, 0: the recipe's")] = 0,
    iterations: Annotated[int, typer.Option(help="in all, 0: the recipe's")] = 0,
    within: Annotated[float, typer.Option(help="as many as fit so many minutes")] = 0,
    minutes: Annotated[float, typer.Option(help="stop after so many, 0: at the end")] = 0,
    every: Annotated[float, typer.Option(help="minutes between checkpoints")] = 10,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    start: Annotated[Path | None, typer.Option(help="safetensors file to start from")] = None,
    compiled: Annotated[bool, typer.Option(help="fuse HiSD's norms: 1.6 times faster")] = False,
) -> None:
    """Train one generator, resuming from the checkpoint in `out` if there is one."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    recipe = RECIPES[model]
    size = size or recipe.settings["image_size"]
    recipe = replace(
        recipe,
        settings=recipe.settings | {"image_size": size},
        batch=batch or recipe.batch,
        iterations=iterations or recipe.iterations,
    )
    out.mkdir(parents=True, exist_ok=True)
    features = FrozenFeatures(Backbone()).to(default_device(), memory_format=torch.channels_last)
    known = load_photos(photos, "train", size, half=size <= SOFT_FROM)
    training = Training(recipe, known, features)
    held_out, path = load_photos(photos, "test", size), out / f"{model}.ckpt"
    training.choose_execution()
    if path.exists():
        training.load(path)
    else:
        if start is not None:
            load_weights(training.model, start)
        training.warm_up()
    if compiled:
        for part in training.model.children():
            for network in part if isinstance(part, nn.ModuleList) else [part]:
                network.compile()
        features.net.compile()
    began = last = time.time()
    first = training.iteration
    while training.iteration < training.recipe.iterations:
        terms, now = training.step(), time.time()
        if training.iteration % 50 == 0:
            row = {"iteration": training.iteration, "seconds": round(now - began)}
            row |= {name: round(value.item(), 4) for name, value in terms.items()}
            with (out / f"{model}.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            if within:  # the rates fall towards the end, which the pace so far foretells
                fit = (training.iteration - first) * 60 * within / (now - began)
                training.recipe = replace(training.recipe, iterations=first + int(fit))
        over = bool(minutes) and now - began > 60 * minutes
        done = over or training.iteration >= training.recipe.iterations
        if done or now - last > 60 * every:
            training.save(path)
            picture = out / f"{model}-{training.iteration:06d}.png"
            with training.autocast():
                seen = look(training.average, held_out, picture)
            print(json.dumps({"model": model, "at": training.iteration} | seen), flush=True)
            last = time.time()
        if over:
            break


if __name__ == "__main__":
    typer.run(main)
