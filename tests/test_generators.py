"""Our generators against the published ones: same keys, same shapes, same numbers."""

import json
import zlib

import numpy as np
import pytest
import torch

from aef_core import models
from aef_core.models import ARCHITECTURES, AttentionGAN, AttGAN, DeepfakeModel, HiSD, StarGAN
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize

from .conftest import DATA, make_faces

TOLERANCE = 1e-4  # relative to the tensor's standard deviation, float32 on a CPU


@pytest.fixture(scope="module")
def parity() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "parity.npz"))


def recipe_tensor(key: str, value: torch.Tensor) -> torch.Tensor:
    """The weight that the reference data was made with, from its name and shape alone."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros_like(value)
    z = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(value.shape)
    per_channel = value.dim() == 1 or (value.dim() == 3 and value.shape[::2] == (1, 1))
    if key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif key.endswith("running_mean") or (per_channel and key.endswith("bias")):
        z = 0.1 * z
    elif per_channel:
        z = 1 + 0.1 * z
    else:
        z = z / np.sqrt(np.prod(value.shape[1:]))
    return torch.from_numpy(z.astype(np.float32))


def published(architecture: type) -> torch.nn.Module:
    model = architecture()
    model.load_state_dict({k: recipe_tensor(k, v) for k, v in model.state_dict().items()})
    return model.eval()


def images(n: int, size: int) -> torch.Tensor:
    z = np.random.RandomState(20260501).standard_normal((n, 3, size, size))
    return torch.from_numpy(np.tanh(z).astype(np.float32))


def assert_matches(ours: torch.Tensor, theirs: np.ndarray) -> None:
    error = np.abs(ours.numpy() - theirs).max() / theirs.std()
    assert error < TOLERANCE, f"differs by {error:.1e} of the standard deviation"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_state_dict_equals_the_published_one(name: str) -> None:
    manifest = json.loads((DATA / "state_dict_manifest.json").read_text())[name.lower()]
    ours = {k: list(v.shape) for k, v in ARCHITECTURES[name]().state_dict().items()}
    assert ours == manifest


@torch.no_grad()
@pytest.mark.parametrize("architecture", [StarGAN, AttentionGAN])
def test_label_plane_models_equal_the_published(architecture: type, parity: dict) -> None:
    key, model = architecture.name.lower(), published(architecture)
    x, c = images(2, 64), torch.from_numpy(parity[f"{key}.label"]).float()
    output, feature = model.forward_with_feature(x, c)
    assert_matches(output, parity[f"{key}.output"])
    assert_matches(feature[:, ::16], parity[f"{key}.feature"])
    if architecture is AttentionGAN:
        _, attention = model.content_and_attention((feature,))
        assert_matches(attention, parity["attentiongan.attention"])


@torch.no_grad()
def test_attgan_equals_the_published(parity: dict) -> None:
    c = torch.from_numpy(parity["attgan.label"]).float()
    output, feature = published(AttGAN).forward_with_feature(images(1, 256), c)
    assert_matches(output[:, :, ::4, ::4], parity["attgan.output"])
    assert_matches(feature[:, ::32], parity["attgan.feature"])


@torch.no_grad()
def test_hisd_equals_the_published(parity: dict) -> None:
    model, x = published(HiSD), images(3, 128)
    style = model.extractors(x[2:])[:, 1].expand(2, -1)
    assert_matches(style, parity["hisd.style"])
    output, feature = model.forward_with_feature(x[:2], model.condition(1, style))
    assert_matches(feature[:, ::32, ::2, ::2], parity["hisd.feature"])
    assert_matches(output[:, :, ::2, ::2], parity["hisd.output"])
    noise = torch.from_numpy(np.random.RandomState(7).standard_normal((2, 32))).float()
    assert_matches(model.mappers[2](noise, 1), parity["hisd.mapped_style"])


def test_the_generator_of_the_package_docstring_is_one() -> None:
    code = [line[4:] for line in models.__doc__.splitlines() if line.startswith("    ")]
    scope = {"DeepfakeModel": DeepfakeModel, "nn": torch.nn, "torch": torch}
    exec("\n".join(code), scope)
    zoo = {"Mine": scope["Mine"]().eval().requires_grad_(False)}
    config = PerturbationConfig(steps=2, batch=2)
    delta = optimize(zoo, make_faces(2, size=128), "aef", config, progress=False).delta
    assert delta.shape == (1, 3, 128, 128)
