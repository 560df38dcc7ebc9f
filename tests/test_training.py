"""Shipped weights, and the judge's training."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from aef_core.config import ASSETS
from aef_core.models.base import ATTRIBUTES
from aef_core.models.weights import sha256_of
from companion.training.export import save_half
from companion.training.train_classifier import Training, accuracies, augment
from companion.zoo.photos import Photos

from .conftest import make_faces, tiny_zoo


def test_exported_weights_are_half_precision_and_named(tmp_path: Path) -> None:
    model = tiny_zoo()["StarGAN"]
    save_half(tmp_path / "m.safetensors", model.state_dict(), {"seed": 1})
    stored = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert stored["main.0.weight"].dtype == torch.float16
    assert stored["main.1.weight"].dtype == torch.float32
    model.load_state_dict({k: v.float() for k, v in stored.items()})


def test_augmented_faces_keep_their_size_and_range() -> None:
    torch.manual_seed(0)
    for size in (32, 64):
        x = make_faces(6, size=size).images
        seen = augment(x)
        assert seen.shape == x.shape
        assert seen.abs().max() <= 1
        assert not torch.equal(seen, x)


@pytest.fixture
def photos() -> Photos:
    """Bright faces are men's."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (24, 13), generator=rng, dtype=torch.uint8)
    level = 60 + 130 * labels[:, ATTRIBUTES.index("Male")].view(-1, 1, 1, 1)
    noise = torch.randint(60, (24, 3, 128, 128), generator=rng)
    return Photos((level + noise).to(torch.uint8), labels)


def test_the_judge_learns_what_is_easy_to_see(photos: Photos) -> None:
    training = Training(photos, steps=30, batch=8)
    for _ in range(30):
        training.step()
    assert accuracies(training.model.eval(), photos).loc["Male", "balanced"] > 0.9


def test_a_resumed_training_of_the_judge_continues_to_the_same_bits(
    photos: Photos, tmp_path: Path
) -> None:
    straight, resumed = (Training(photos, steps=3, batch=4) for _ in range(2))
    straight.choose_precision()
    for _ in range(2):
        straight.step()
    straight.save(tmp_path / "judge.ckpt")
    resumed.load(tmp_path / "judge.ckpt")
    resumed.half = straight.half
    for one in (straight, resumed):
        one.step()
    ours, theirs = straight.judge().state_dict(), resumed.judge().state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_the_embedded_judge_is_small_known_by_its_checksum_and_good() -> None:
    entry = json.loads((ASSETS / "judge.json").read_text())["judge"]
    file = ASSETS / entry["file"]
    assert file.stat().st_size < 3e6
    assert sha256_of(file) == entry["sha256"]
    balanced = entry["training"]["balanced accuracy"]
    assert list(balanced) == list(ATTRIBUTES)
    assert sum(balanced.values()) / len(balanced) > 0.83
