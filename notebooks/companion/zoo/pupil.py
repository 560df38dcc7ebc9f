"""A generator's first lessons: edits of those that forge already, pair by pair, before any critic.

    python -m companion.zoo.pupil AttGAN --photos FOLDER --out FILE --minutes 18
    python -m companion.zoo.train AttGAN --photos FOLDER --out FOLDER --start FILE

A critic that meets a generator which cannot copy yet tears its faces. A pupil is told what every
pixel should be, copies of faces with nothing to edit among them, and keeps them whole.
"""

import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from aef_core import load_zoo
from aef_core.config import default_device
from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.base import attribute_index
from aef_core.models.weights import load_weights
from companion.training.export import save_half
from companion.zoo.critic import Backbone
from companion.zoo.games import LabelGame, mirrored
from companion.zoo.looks import look
from companion.zoo.photos import Photos, load_photos
from companion.zoo.recipes import RECIPES
from companion.zoo.styles import GAMES, HiSDGame
from companion.zoo.training import follow

PIXELS = 10.0  # weight of the L1 of pixels beside that of features
EDITS = 3  # a step; as many faces each, and as many copies
RATE = 1e-3


class Lessons:
    """Photographs, and what teachers make of them.

    Parameters
    ----------
    game : one of `GAMES`
        The pupil's.
    teachers : mapping of edit to DeepfakeModel
        Frozen, in eval mode.
    photos : Photos
    """

    def __init__(
        self, game: LabelGame | HiSDGame, teachers: Mapping[str, DeepfakeModel], photos: Photos
    ) -> None:
        self.game, self.teachers, self.photos = game, teachers, photos

    def draw(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """`n` faces an edit and `n` to copy: faces, conditions, and what should come out.

        A face that has the attribute already is copied, too.
        """
        edits, device = list(self.teachers), self.photos.pixels.device
        rows = torch.randint(len(self.photos), (EDITS + 1, n), device=device)
        x = mirrored(self.photos.faces(rows.flatten())).split(n)
        attributes = self.photos.attributes[rows]
        conditions = [self.game.model.keep_condition(x[0], attributes[0])]
        targets = [x[0]]
        for faces, own, i in zip(x[1:], attributes[1:], torch.randperm(len(edits)), strict=False):
            conditions.append(self.game.ask(own, edits[i]))
            targets.append(self._taught(faces, own, edits[i]))
        return torch.cat(x[: len(targets)]), torch.cat(conditions), torch.cat(targets)

    @torch.no_grad()
    def _taught(self, x: Tensor, attributes: Tensor, edit: str) -> Tensor:
        teacher = self.teachers[edit]
        made = teacher(x, teacher.conditions(attributes, edit)).float().clamp(-1, 1)
        wanted = self.game.model.target_attributes(attributes, edit)
        same = (wanted == attributes)[:, attribute_index(edit)]
        return torch.where(same[:, None, None, None], x, made)


def distance(backbone: nn.Module, y: Tensor, target: Tensor) -> Tensor:
    """L1 of pixels, and of frozen features relative to their size, summed over four strides."""
    with torch.no_grad():  # nothing flows back into what is wanted
        wanted = backbone(target)
    pairs = zip(backbone(y), wanted, strict=True)
    relative = [F.l1_loss(a.float(), b.float()) / b.float().abs().mean() for a, b in pairs]
    return PIXELS * F.l1_loss(y.float(), target) + sum(relative)


def learn(
    lessons: Lessons, backbone: nn.Module, n: int, over: Callable[[], float], half: bool = False
) -> tuple[DeepfakeModel, int]:
    """The averaged pupil, and the steps it took.

    Parameters
    ----------
    n : int
        Faces an edit; a step takes `EDITS + 1` times as many.
    over : callable
        The share of the run that is over, 0 to 1: rates fall by it, at 1 the run ends.
    half : bool
        bfloat16 convolutions.
    """
    pupil = lessons.game.model
    device = next(pupil.parameters()).device
    optimizer = torch.optim.Adam(pupil.parameters(), RATE, betas=(0.5, 0.99), fused=True)
    average, step = deepcopy(pupil), 0
    while (share := over()) < 1:
        optimizer.param_groups[0]["lr"] = RATE * max(0.05, min(1.0, (1 - share) / 0.6))
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            x, c, target = lessons.draw(n)
            loss = distance(backbone, pupil(x, c), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        follow(average, pupil, step)
        step += 1
        if step % 50 == 0:
            print(json.dumps({"step": step, "distance": round(loss.item(), 4)}), flush=True)
    return average, step


def main(
    model: Annotated[str, typer.Argument(help="AttGAN or HiSD")],
    photos: Annotated[Path, typer.Option(help="folder with the two CelebA archives")],
    out: Annotated[Path, typer.Option(help="safetensors file to write")],
    minutes: Annotated[float, typer.Option(help="how long it learns")] = 18,
    n: Annotated[int, typer.Option(help="faces an edit and step")] = 4,
    start: Annotated[Path | None, typer.Option(help="safetensors file to start from")] = None,
    seed: int = 1,
) -> None:
    """Teach one generator; its average is written, with a picture of held-out faces beside it."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    recipe, device = RECIPES[model], default_device()
    pupil = ARCHITECTURES[recipe.model](**recipe.settings)
    if start is not None:
        load_weights(pupil, start)
    pupil.to(device, memory_format=torch.channels_last).train()
    zoo = {name: m.to(device).eval() for name, m in load_zoo().items()}
    teachers = {edit: zoo[name] for edit, name in recipe.teachers.items()}
    known = load_photos(photos, "train", recipe.settings["image_size"]).to(device)
    lessons = Lessons(GAMES[recipe.model](pupil, known), teachers, known)
    backbone = Backbone().requires_grad_(False).to(device, memory_format=torch.channels_last)
    began = time.time()
    average, steps = learn(
        lessons, backbone, n, lambda: (time.time() - began) / (60 * minutes), half=True
    )
    held_out = load_photos(photos, "test", recipe.settings["image_size"])
    save_half(out, average.state_dict(), {"steps": steps})
    seen = look(average, held_out, out.with_suffix(".png"))
    print(json.dumps({"model": model, "steps": steps} | seen))


if __name__ == "__main__":
    typer.run(main)
