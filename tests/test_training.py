"""Shipped weights, and the judge's training."""

from pathlib import Path

import safetensors.torch
import torch

from companion.training.export import save_half
from companion.training.train_classifier import augment

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
