"""The 128-pixel configs train; a labeller's doubts keep faces out. No data, random faces."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import aef_core.models.zoo as zoo_module
from aef_core.config import ASSETS
from aef_core.faces import load_faces, to_uint8
from aef_core.faces import sources as face_sources
from aef_core.models import ARCHITECTURES
from aef_core.models.base import ATTRIBUTES, attribute_index
from aef_core.models.zoo import installed, load_zoo
from companion.training import embedded_faces, zoo128
from companion.training.bars import BARS
from companion.training.curves import read_log
from companion.training.export import main as export
from companion.training.face_pool import Candidate
from companion.training.recipes import Phase
from companion.training.train_generator import train
from companion.training.zoo128 import (
    TRAINED,
    ZOO128,
    ZOOS,
    confident,
    grown,
    join,
    training_faces,
)

from .conftest import make_faces

NARROW = {"width": 2, "extractor_width": 2, "mapper_width": 4, "style_dim": 4, "noise_dim": 4}


def test_the_depth_is_the_official_one_and_the_files_stay_small() -> None:
    names = ("StarGAN", "AttentionGAN", "AttGAN", "HiSD")
    settings = {name: ZOO128[name].settings for name in names}
    assert [settings[n]["blocks"] for n in ("StarGAN", "AttentionGAN", "HiSD")] == [6, 6, 7]
    assert settings["AttGAN"]["layers"] == 5
    values = 0
    for name, config in ZOO128.items():
        model = ARCHITECTURES[name](**config.settings)
        assert model.image_size == 128
        values += sum(v.numel() for v in model.state_dict().values())
    assert 2 * values < 30e6, "float16"


@pytest.mark.parametrize("name", ZOO128)
def test_a_narrow_one_trains_through_its_phases(name: str, tmp_path: Path) -> None:
    config = ZOO128[name]
    settings = config.settings | {k: v for k, v in NARROW.items() if k in config.settings}
    phases = (config.phases[0], config.phases[-1]._replace(start=1))
    small = replace(
        config, settings=settings, phases=phases, iterations=2, batch=2, warmup=1, critic_width=2
    )
    path = train(small, make_faces(30, size=128), tmp_path)
    stored = torch.load(path, weights_only=True)
    assert stored["iteration"] == 2
    assert all(v.isfinite().all() for v in stored["model"].values())
    model = ARCHITECTURES[name](**settings)
    model.load_state_dict(stored["model"])


@pytest.mark.parametrize("name", ["StarGAN", "AttentionGAN"])
def test_a_grown_generator_begins_as_the_small_one(name: str) -> None:
    config, faces = ZOO128[name], make_faces(2, size=32)
    model = ARCHITECTURES[name](**config.settings)
    model.load_state_dict(grown(config))
    small = load_zoo("celeba64", models=[name], device="cpu")[name]
    assert len(model.main) > len(small.main), "deeper"
    c = small.conditions(faces.attributes, "Male")
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(faces.images, c), small(faces.images, c))


def test_bfloat16_trains_float32_weights(tmp_path: Path) -> None:
    settings = {**ZOO128["StarGAN"].settings, "width": 2, "blocks": 1}
    few = {"settings": settings, "iterations": 1, "batch": 2, "warmup": 1, "critic_width": 2}
    faces, weights = make_faces(8, size=128), {}
    for precision in ("float32", "bf16"):
        config = replace(ZOO128["StarGAN"], **few, precision=precision)
        path = train(config, faces, tmp_path / precision)
        weights[precision] = torch.load(path, weights_only=True)["model"]["main.0.weight"]
        assert weights[precision].dtype == torch.float32
    assert not torch.equal(weights["float32"], weights["bf16"]), "bf16 changes nothing"
    torch.testing.assert_close(weights["float32"], weights["bf16"], atol=0.02, rtol=0.1)


def test_logged_terms_lose_their_weights_and_repetitions(tmp_path: Path) -> None:
    phases = (Phase(0, cycle=20.0, attribute=2.0), Phase(20, cycle=10.0, identity=5.0))
    lines = [
        {
            "iteration": 0,
            "time": 1,
            "critic": 1.5,
            "cycle": 4.0,
            "attribute": 3.0,
            "reconstruction": 8.0,
        },
        {"iteration": 20, "time": 2, "critic": 9.0, "cycle": 9.0, "identity": 9.0},
        {"iteration": 20, "time": 3, "critic": 1.0, "cycle": 1.0, "identity": 2.0},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = read_log(tmp_path / "x.jsonl", phases).set_index(["iteration", "term"])["value"]
    assert log.to_dict() == {
        (0, "attribute"): 1.5, (0, "critic"): 1.5, (0, "cycle"): 0.2, (0, "reconstruction"): 0.08,
        (20, "critic"): 1.0, (20, "cycle"): 0.1, (20, "identity"): 0.4,
    }  # fmt: skip


def test_an_exported_128_pixel_zoo_is_what_load_zoo_picks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed()[-1] == "celeba64"
    settings = ZOO128["StarGAN"].settings | {"width": 2}
    small = replace(ZOO128["StarGAN"], settings=settings)
    monkeypatch.setitem(zoo128.ZOOS, "faces128", {"StarGAN": small})
    model = ARCHITECTURES["StarGAN"](**settings)
    weights = model.state_dict()
    torch.save({"model": weights, "average": weights, "iteration": 7}, tmp_path / "StarGAN.ckpt")
    (tmp_path / "StarGAN.jsonl").write_text(
        "".join(json.dumps({"iteration": i, "time": 0, "cycle": 2.0}) + "\n" for i in (0, 20))
    )
    export(tmp_path, zoo="faces128", out=tmp_path / "faces128")
    (tmp_path / "celeba64").symlink_to(ASSETS / "celeba64")
    monkeypatch.setattr(zoo_module, "ASSETS", tmp_path)
    assert (tmp_path / "faces128" / "curves.png").stat().st_size > 1000
    assert installed() == ("faces128", "celeba64")
    assert load_zoo(models=["StarGAN"], device="cpu")["StarGAN"].image_size == 128
    assert load_zoo("faces128", device="cpu").keys() == {"StarGAN"}
    assert load_zoo(device="cpu")["StarGAN"].image_size == 64, "only one of four is there"
    assert load_zoo("celeba64", models=["StarGAN"])["StarGAN"].image_size == 64
    assert set(BARS) == set(ZOOS)


def test_sheets_of_128_pixels_are_loaded_at_their_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarged = to_uint8(load_faces("embedded", "test", n=16, size=128).images)
    pictures = enlarged.permute(0, 2, 3, 1).numpy()
    labels = dict.fromkeys(ATTRIBUTES, 0) | {"Male": 1}
    chosen = [Candidate(tile, (0, 1, 2), labels, *[0.0] * 4) for tile in pictures]
    embedded_faces.save(tmp_path, {"train": chosen})
    monkeypatch.setattr(face_sources, "ASSETS", tmp_path)
    faces = load_faces("embedded", "train", size=128)
    assert faces.images.shape == (16, 3, 128, 128)
    assert faces.attributes[:, attribute_index("Male")].all()
    # the backdrop is out of focus, the head is as it was
    middle = to_uint8(faces.images)[:, :, 40:80, 50:78].permute(0, 2, 3, 1).numpy()
    assert np.abs(middle.astype(int) - pictures[:, 40:80, 50:78]).mean() < 4  # of 255: WebP


class Oracle(torch.nn.Module):
    """Logits that grow with a face's brightness."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 10 * x.mean(dim=(1, 2, 3))[:, None].expand(-1, len(ATTRIBUTES))


def test_faces_the_labeller_doubts_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    levels = torch.tensor([0.5, 0.05, -0.5, -0.02])
    images = levels[:, None, None, None].expand(4, 3, 8, 8).clone()
    kept = confident(Oracle(), images, ["a", "b", "c", "d"])
    assert kept.names == ("a", "c")
    assert "sure of 2 of 4 faces" in capsys.readouterr().out
    assert kept.attributes[:, attribute_index(TRAINED[0])].tolist() == [1, 0]
    with pytest.raises(ValueError, match="sure of none of 2 faces"):
        confident(Oracle(), images[[1, 3]], ["b", "d"])
    both = join(make_faces(3, size=8), kept)
    assert len(both) == 5
    assert both.source == "memory+lfw"


def test_lfw_needs_a_labeller(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def fake(source: str, split: str, root: Path, size: int) -> object:
        asked["size"] = size
        return make_faces(2, size=16)

    monkeypatch.setattr(zoo128, "load_faces", fake)
    assert len(training_faces("celeba64", Path("celeba"))) == 2
    assert asked["size"] == 64
    with pytest.raises(ValueError, match="name a labeller"):
        training_faces("faces128", Path("celeba"), lfw=Path("lfw"))
    assert asked["size"] == 128
    assert set(ZOOS) == {"celeba64", "faces128"}
