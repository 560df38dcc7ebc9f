"""A generator's first lessons: the edits of those that forge already."""

import pytest
import torch
from torch import Tensor

from aef_core.models import ARCHITECTURES, DeepfakeModel
from aef_core.models.base import attribute_index
from companion.zoo.critic import RandomBackbone
from companion.zoo.photos import Photos
from companion.zoo.pupil import EDITS, Lessons, distance, learn
from companion.zoo.recipes import ATTGAN_EDITS, RECIPES
from companion.zoo.styles import GAMES

SIZE = 32
SMALL = {
    "AttGAN": {"width": 8, "layers": 3},
    "HiSD": {"width": 8, "blocks": 1, "extractor_width": 4, "extractor_downs": 2},
}


class Darker(DeepfakeModel):
    """A teacher whose every edit is plain to see."""

    name, edits, image_size = "Darker", ATTGAN_EDITS, SIZE

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        return x / 2 - 0.5

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        return attributes.float()


def lessons(name: str) -> Lessons:
    torch.manual_seed(0)
    settings = RECIPES[name].settings | SMALL[name] | {"image_size": SIZE}
    pupil = ARCHITECTURES[name](**settings).train()
    pixels = torch.randint(256, (20, 3, SIZE // 8, SIZE // 8), dtype=torch.uint8)
    pixels = pixels.repeat_interleave(8, 2).repeat_interleave(8, 3)
    photos = Photos(pixels, torch.randint(2, (20, 13), dtype=torch.uint8))
    teachers = {edit: Darker().eval() for edit in pupil.edits}
    return Lessons(GAMES[name](pupil, photos), teachers, photos)


@pytest.mark.parametrize("name", SMALL)
def test_what_a_face_has_already_is_copied_and_the_rest_is_the_teachers(name: str) -> None:
    ours = lessons(name)
    x, c, target = ours.draw(6)
    assert len(x) == len(c) == len(target) == 6 * (EDITS + 1)
    assert torch.equal(target[:6], x[:6]), "the first faces are to copy"
    edit = "Blond_Hair"
    attributes = ours.photos.attributes[:8].clone()
    attributes[:, attribute_index(edit)] = torch.arange(8) % 2
    faces = ours.photos.faces(torch.arange(8))
    taught = ours._taught(faces, attributes, edit)
    assert torch.equal(taught[1::2], faces[1::2])
    assert torch.allclose(taught[::2], faces[::2] / 2 - 0.5)


@pytest.mark.parametrize("name", SMALL)
def test_a_pupil_comes_nearer_to_its_teachers(name: str) -> None:
    ours, backbone, steps = lessons(name), RandomBackbone().requires_grad_(False), 60
    x, c, target = ours.draw(6)
    pupil = ours.game.model
    before = distance(backbone, pupil(x, c), target).item()
    turns = iter(range(steps))
    average, taken = learn(ours, backbone, 4, lambda: next(turns, steps) / steps)
    assert taken == steps
    assert distance(backbone, pupil(x, c), target).item() < 0.8 * before
    moved = zip(average.parameters(), pupil.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved), "the average is not the pupil itself"
