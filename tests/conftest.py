"""Shared fixtures: tiny generators and faces, made from seeds, so most tests need no asset."""

from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from aef_core.faces import FaceBatch
from aef_core.models import ATTRIBUTES, AttentionGAN, AttGAN, DeepfakeModel, HiSD, StarGAN

DATA = Path(__file__).parent / "data"
SIZE = 32

mpl.use("Agg")
torch.set_num_threads(1)  # a second thread slows what is tiny; `make test` uses the cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: one of them begun last would leave the other cores idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's runs and figures."""
    monkeypatch.setenv("AEF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEF_FIGURES", str(tmp_path / "figures"))


class BrightnessJudge(torch.nn.Module):
    """Sees every attribute in a bright image and none in a dark one: can be told by hand."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3))[:, None].expand(-1, len(ATTRIBUTES))


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
