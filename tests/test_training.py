"""The training scripts learn, log, and resume; on tiny generators and random faces."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from aef_core.models import ARCHITECTURES, HAIR_COLOURS
from companion.training import train_generator
from companion.training.export import save_half
from companion.training.networks import jittered
from companion.training.recipes import Phase, TrainingConfig
from companion.training.train_generator import build_recipe, train
from companion.training.zoo64 import ZOO64

from .conftest import make_faces

TINY = {
    "StarGAN": {"width": 4, "blocks": 1, "image_size": 16},
    "AttentionGAN": {"width": 4, "blocks": 1, "image_size": 16},
    "AttGAN": {"attributes": ("Bangs", *HAIR_COLOURS), "width": 4, "layers": 2, "image_size": 16},
    "HiSD": {
        "tags": {"Bangs": ("Bangs", None), "HairColor": HAIR_COLOURS},
        "width": 4, "blocks": 1, "extractor_width": 4, "extractor_downs": 2, "style_dim": 4,
        "noise_dim": 4, "mapper_width": 4, "image_size": 16,
    },
}  # fmt: skip


def tiny(name: str, **changes: int) -> TrainingConfig:
    config = TrainingConfig(name, TINY[name], iterations=4, batch=4, warmup=2, critic_width=4)
    return replace(config, **changes)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_stopped_training_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    faces = make_faces(40, size=16)
    straight = train(tiny(name), faces, tmp_path / "a", checkpoint_every=2)

    class Stop(Exception):
        pass

    save, calls = train_generator._save, []

    def save_once(*arguments: object) -> None:
        save(*arguments)
        calls.append(1)
        raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(train_generator, "_save", save_once)
        train(tiny(name), faces, tmp_path / "b", checkpoint_every=2)
    resumed = train(tiny(name), faces, tmp_path / "b", checkpoint_every=2)
    a, b = (torch.load(p, weights_only=True) for p in (straight, resumed))
    assert a["iteration"] == b["iteration"] == 4
    for part in ("model", "average", "critic"):
        for key, value in a[part].items():
            assert torch.equal(value, b[part][key]), f"{part}.{key}"
    log = [json.loads(line) for line in straight.with_suffix(".jsonl").read_text().splitlines()]
    assert {"iteration", "critic", "adversarial", "attribute"} <= set(log[0])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_sides_get_gradients_and_every_term_is_finite(name: str) -> None:
    torch.manual_seed(0)
    recipe, faces = build_recipe(ARCHITECTURES[name](**TINY[name]), 4), make_faces(40, size=16)
    recipe.start(faces.attributes)
    rows = recipe.sample(faces.attributes, 8)
    for losses, network in (
        (recipe.critic_losses, recipe.critic),
        (recipe.generator_losses, recipe.model),
    ):
        terms = losses(faces.images[rows], faces.attributes[rows])
        assert all(term.isfinite() for term in terms.values())
        network.zero_grad()
        sum(terms.values()).backward()
        moved = [p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters()]
        assert sum(moved) > len(moved) / 3


def test_training_can_go_on_from_given_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    weights = ARCHITECTURES["StarGAN"](**TINY["StarGAN"]).state_dict()
    still = tiny("StarGAN", iterations=1, phases=(Phase(0, rate=0.0),))
    path = train(still, make_faces(40, size=16), tmp_path, weights=weights)
    kept = torch.load(path, weights_only=True)["model"]
    assert all(torch.equal(kept[k], v) for k, v in weights.items() if "running" not in k)


def test_copying_is_learnt() -> None:
    torch.manual_seed(0)
    faces = make_faces(8, size=16)
    recipe = build_recipe(ARCHITECTURES["AttentionGAN"](**TINY["AttentionGAN"]), 4)
    optimizer = torch.optim.Adam(recipe.model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = recipe.copy_loss(faces.images, faces.attributes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_jitter_moves_and_blurs_but_leaves_a_flat_face_flat() -> None:
    torch.manual_seed(0)
    flat = torch.full((6, 3, 32, 32), 0.5)
    seen = jittered(flat)
    torch.testing.assert_close(seen, seen[:, :, :1, :1].expand_as(flat))
    assert 0.4 < seen.min() < seen.max() < 0.6, "each is dimmed or brightened by at most 15 %"
    stripes = torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0).expand(40, 3, 32, 32)
    left = jittered(stripes).std(dim=(1, 2, 3))
    assert 5 < (left < 0.1).sum() < 35, "about every second one loses its finest grain"
    grey = torch.zeros(1, 3, 32, 32, requires_grad=True)
    jittered(grey).sum().backward()
    assert grey.grad.sum() > 0, "a generator learns through it"


def test_only_a_phase_with_jitter_hides_the_face_from_the_critic() -> None:
    model = ARCHITECTURES["StarGAN"](**TINY["StarGAN"])
    recipe = build_recipe(model, 4)
    x = make_faces(4, size=16).images
    assert recipe.critic_input(x) is x
    recipe.phase = Phase(0, jitter=True)
    assert not torch.equal(recipe.critic_input(x), x)


def test_exported_weights_are_half_precision_and_named(tmp_path: Path) -> None:
    model = ARCHITECTURES["StarGAN"](**TINY["StarGAN"])
    save_half(tmp_path / "m.safetensors", model.state_dict(), {"seed": 1})
    stored = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert stored["main.0.weight"].dtype == torch.float16
    assert stored["main.1.weight"].dtype == torch.float32
    model.load_state_dict({k: v.float() for k, v in stored.items()})


def test_the_shipped_configs_build() -> None:
    for name, config in ZOO64.items():
        assert ARCHITECTURES[name](**config.settings).image_size == 64
