"""Shared fixtures: tiny generators and faces, made from seeds, so most tests need no asset."""

import dataclasses
import os
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from aef_core.faces import FaceBatch
from aef_core.generators import ATTRIBUTES, AttentionGAN, AttGAN, DeepfakeModel, HiSD, StarGAN
from aef_core.methods import METHODS, Method
from aef_core.perturbation import perturb

DATA = Path(__file__).parent / "data"
SIZE = 32



class _Signs(Method):
    """Random signs, for a tree whose registry has no method `random` yet."""

    name = "random"
    idea = "random signs at the bound"

    def loop(self, config, n, *zoo):
        return dataclasses.replace(config, steps=1, feature_weight=0.0, feature_steps=0)

    def states(self, zoo, faces, rule, config, state, hooks, *machine):
        signs = torch.Generator().manual_seed(config.seed + 1000)
        coin = torch.randint(2, (1, *faces.images.shape[1:]), generator=signs)
        delta = config.eps * (2.0 * coin - 1)
        for felt in perturb(zoo, faces, rule, config, None, hooks, *machine):
            yield dataclasses.replace(felt, delta=delta)


METHODS.setdefault("random", dataclasses.dataclass(_Signs))

mpl.use("Agg")
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's runs and figures."""
    monkeypatch.setenv("AEF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEF_FIGURES", str(tmp_path / "figures"))


def tiny_zoo(seed: int = 0) -> dict[str, DeepfakeModel]:
    """All four architectures at width 4: real code paths, random weights."""
    torch.manual_seed(seed)
    models = (
        StarGAN(width=4, blocks=1, image_size=SIZE),
        AttentionGAN(width=4, blocks=1, image_size=SIZE),
        AttGAN(width=4, layers=3, image_size=SIZE),
        HiSD(width=4, blocks=1, extractor_width=4, extractor_downs=3, style_dim=8, noise_dim=4,
             mapper_width=8, image_size=SIZE),
    )  # fmt: skip
    return {m.name: m.eval().requires_grad_(False) for m in models}


def make_faces(n: int = 6, seed: int = 0, size: int = SIZE) -> FaceBatch:
    """Smooth random images with random attributes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    attributes = torch.randint(2, (n, len(ATTRIBUTES)), generator=generator, dtype=torch.uint8)
    return FaceBatch(images, attributes, tuple(f"f{seed}-{i}" for i in range(n)))


@pytest.fixture
def zoo() -> dict[str, DeepfakeModel]:
    return tiny_zoo()


@pytest.fixture
def faces() -> FaceBatch:
    return make_faces()
