"""The embedded zoo loads, edits and can be interrupted; foreign checkpoints are refused."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

import aef_core.models.zoo as zoo_module
from aef_core.config import ASSETS, default_device
from aef_core.faces import load_faces
from aef_core.metrics import evaluate, per_model
from aef_core.models import ARCHITECTURES, HAIR_COLOURS
from aef_core.models.base import ATTRIBUTES, edit_attributes
from aef_core.models.judge import predict_attributes
from aef_core.models.weights import BadCheckpoint
from aef_core.models.zoo import OFFICIAL, installed, load_zoo, zoo_table
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize
from companion import plots
from companion.training import bars as zoo_bars
from companion.training.bars import edits_shown, glasses_of_others


@pytest.mark.parametrize("name", installed())
def test_embedded_files_are_small_and_match_their_checksums(name: str) -> None:
    files = [ASSETS / name / entry["file"] for entry in zoo_table(name).values()]
    assert sum(f.stat().st_size for f in files) < 30e6
    for file, entry in zip(files, zoo_table(name).values(), strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]
    assert sum(f.stat().st_size for f in ASSETS.rglob("*") if f.is_file()) < 60e6


@pytest.mark.parametrize("name", installed())
def test_embedded_models_are_frozen_and_finite(name: str) -> None:
    zoo = load_zoo(name)
    faces = load_faces(split="test", n=4, size=zoo["StarGAN"].image_size)
    assert list(zoo) == [m for m in ARCHITECTURES if m in zoo_table(name)]
    whole = load_zoo()
    assert list(whole) == list(ARCHITECTURES), "without a name: a zoo of all four"
    assert {m.image_size for m in whole.values()} == {128}, "the larger one"
    for model in zoo.values():
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        for edit in model.edits:
            forged = model(faces.images, model.conditions(faces.attributes, edit))
            assert forged.shape == faces.images.shape
            assert forged.isfinite().all()


def test_the_picture_of_a_zoo_shows_every_edit() -> None:
    zoo, faces = load_zoo("celeba64"), load_faces(split="test", n=2)
    blocks = edits_shown(zoo, faces)
    for name, pictures in blocks.items():
        assert list(pictures) == ["original", "unedited", *zoo[name].edits]
        kept = (pictures["unedited"] - faces.images).abs().mean()
        assert kept < (pictures["Black_Hair"] - faces.images).abs().mean(), name
    fig = plots.grids.edit_grid(blocks, tile=0.2)
    assert len(fig.axes) == 2 * sum(len(pictures) for pictures in blocks.values())
    plt.close(fig)


def test_bars_of_one_generator_leave_the_others_as_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(ASSETS / "celeba64", tmp_path / "celeba64")
    monkeypatch.setattr(zoo_bars, "ASSETS", tmp_path)
    monkeypatch.setattr(zoo_bars, "SINGLE_MODEL", PerturbationConfig(steps=1, feature_weight=0.0))
    bars = tmp_path / "celeba64" / "bars.json"
    before = json.loads(bars.read_text())
    zoo_bars.report(None, 4, write=True, models=["AttGAN"])
    after = json.loads(bars.read_text())
    assert list(after) == list(before)
    assert after["HiSD"] == before["HiSD"]
    assert after["AttGAN"]["edit L1"] != before["AttGAN"]["edit L1"]
    assert "edit success >= 0.8: " in (said := capsys.readouterr().out)
    assert "of 4; below" in said
    assert (tmp_path / "celeba64" / "edits.jpg").stat().st_size > 10_000


@pytest.mark.parametrize("zoo_name", installed())
@torch.no_grad()
def test_edits_are_what_they_say(zoo_name: str) -> None:
    """The independent classifier sees black hair after the edit, in most faces that had none."""
    zoo, column = load_zoo(zoo_name), ATTRIBUTES.index("Black_Hair")
    faces = load_faces(split="test", n=32, size=zoo["StarGAN"].image_size)
    others = faces[(faces.attributes[:, column] == 0).nonzero().flatten()]
    for name, model in zoo.items():
        forged = model(others.images, model.conditions(others.attributes, "Black_Hair"))
        assert predict_attributes(forged)[:, column].float().mean() > 0.6, name


def test_hisd_takes_glasses_from_a_photo() -> None:
    faces, hisd = load_faces(split="test", n=48), load_zoo("celeba64", models=["HiSD"])["HiSD"]
    column = ATTRIBUTES.index("Eyeglasses")
    plain = faces[(faces.attributes[:, column] == 0).nonzero().flatten()]
    without = predict_attributes(plain.images)[:, column].float().mean()
    assert glasses_of_others(hisd, faces) > without + 0.05
    assert math.isnan(glasses_of_others(hisd, plain)), "nobody lends any"


def test_a_reference_interrupts_what_noise_does_not() -> None:
    zoo = load_zoo("celeba64", models=["AttentionGAN"])
    config = PerturbationConfig(steps=15, step_size=1e-2, feature_weight=0.0)
    run = optimize(zoo, load_faces(n=16), "uniform", config, progress=False)
    test = load_faces(split="test", n=6)
    noise = 0.05 * torch.randn(run.delta.shape, generator=torch.Generator().manual_seed(0)).sign()
    optimised, random = (per_model(evaluate(zoo, test, d))["l2_mask"].item()
                         for d in (run.delta, noise))  # fmt: skip
    assert optimised > 2 * random


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ASSETS / "celeba64", tmp_path / "celeba64")
    victim = tmp_path / "celeba64" / zoo_table()["StarGAN"]["file"]
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(zoo_module, "ASSETS", tmp_path)
    with pytest.raises(BadCheckpoint, match=r"StarGAN\.safetensors does not match its SHA-256"):
        load_zoo(models=["StarGAN"])
    victim.unlink()
    with pytest.raises(BadCheckpoint, match="no such file: reinstall"):
        load_zoo(models=["StarGAN"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imagenet"}, "unknown zoo 'imagenet'; known: faces128, celeba64, official"),
        ({"models": ["CycleGAN"]}, "unknown model 'CycleGAN'; known: StarGAN"),
        ({"name": "official"}, "needs root="),
    ],
)
def test_unknown_names_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_zoo(**arguments)


@pytest.fixture
def official_root(tmp_path: Path) -> Path:
    """Files shaped and wrapped like the public ones, random weights."""
    for name, entry in OFFICIAL.items():
        path = tmp_path / entry.file
        path.parent.mkdir()
        state = ARCHITECTURES[name]().state_dict()
        torch.save({entry.key: state} if entry.key else state, path)
    return tmp_path


def test_official_checkpoints_load_at_256_pixels(official_root: Path) -> None:
    for name, model in load_zoo("official", root=official_root, device="cpu").items():
        stored = torch.load(official_root / OFFICIAL[name].file, weights_only=True)
        stored = stored[OFFICIAL[name].key] if OFFICIAL[name].key else stored
        assert model.image_size == 256
        for key, value in model.state_dict().items():
            assert torch.equal(value, stored[key]), key


def test_a_foreign_checkpoint_names_the_keys(official_root: Path) -> None:
    path = official_root / OFFICIAL["StarGAN"].file
    state = torch.load(path, weights_only=True)
    state["head.weight"] = state.pop("main.0.weight")
    state["main.3.weight"] = state["main.3.weight"][:5]
    torch.save(state, path)
    message = (
        r"not StarGAN's checkpoint: keys 1 missing \(main.0.weight\); "
        r"1 foreign \(head.weight\); 1 of another shape \(main.3.weight\)"
    )
    with pytest.raises(BadCheckpoint, match=message):
        load_zoo("official", root=official_root, models=["StarGAN"])


class Trojan:
    def __reduce__(self) -> tuple:
        return (print, ("code ran while loading",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PyTorch checkpoint"),
        (b"<html>quota exceeded</html>", "not a PyTorch checkpoint"),
        ({"something": torch.zeros(1)}, "has no 'G' entry"),
        (Trojan(), "not a PyTorch checkpoint"),
        (None, "no such file: get it from github.com/elvisyjlin"),
    ],
)
def test_corrupt_foreign_and_hostile_files_are_refused(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / OFFICIAL["AttGAN"].file
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(BadCheckpoint, match=message):
        load_zoo("official", root=tmp_path, models=["AttGAN"])
    assert "code ran" not in capsys.readouterr().out


def test_only_a_damaged_file_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / OFFICIAL["AttGAN"].file
    path.parent.mkdir()
    path.touch()

    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of torch's own")

    monkeypatch.setattr(torch, "load", fault)
    with pytest.raises(RuntimeError, match="torch's own") as caught:
        load_zoo("official", root=tmp_path, models=["AttGAN"])
    assert not isinstance(caught.value, BadCheckpoint)


def test_edits_set_hair_flip_the_rest_and_clear_conflicts() -> None:
    row = {"Bald": 1, "Blond_Hair": 1, "Male": 1}
    attributes = torch.tensor([[row.get(name, 0) for name in ATTRIBUTES]])
    for edit, expected in {
        "Black_Hair": {"Bald": 1, "Black_Hair": 1, "Male": 1},
        "Blond_Hair": row,
        "Male": {"Bald": 1, "Blond_Hair": 1},
        "Bangs": {"Bangs": 1, "Blond_Hair": 1, "Male": 1},
    }.items():
        target = edit_attributes(attributes, edit)[0].tolist()
        assert target == [expected.get(name, 0) for name in ATTRIBUTES], edit
    assert attributes[0, ATTRIBUTES.index("Bald")] == 1, "the input must stay as it was"


def test_conditions_follow_each_model_s_convention() -> None:
    attributes = torch.zeros(2, 13, dtype=torch.uint8)
    attributes[:, ATTRIBUTES.index("Blond_Hair")] = 1
    zoo = load_zoo("celeba64")
    for name in ("StarGAN", "AttentionGAN"):
        c = zoo[name].conditions(attributes, "Black_Hair")
        assert c.tolist() == [[1, 0, 0, 0, 0]] * 2
    attgan = zoo["AttGAN"]
    c = dict(zip(attgan.attributes, attgan.conditions(attributes, "Male")[0].tolist(), strict=True))
    assert c["Male"] == 1.0
    assert c["Blond_Hair"] == 0.5
    assert c["Black_Hair"] == -0.5
    hisd = zoo["HiSD"]
    again = hisd.conditions(attributes, HAIR_COLOURS[1])
    assert torch.equal(again, hisd.conditions(attributes, HAIR_COLOURS[1]))
    reference = load_faces(split="test", n=1).images
    styled = hisd.conditions(attributes, "Eyeglasses", reference=reference)
    assert styled.shape == again.shape
    assert not torch.equal(styled, hisd.conditions(attributes, "Eyeglasses"))
    with pytest.raises(ValueError, match="StarGAN has no edit 'Eyeglasses'"):
        zoo["StarGAN"].conditions(attributes, "Eyeglasses")


def test_a_generator_without_a_bar_is_not_counted() -> None:
    table = pd.DataFrame(
        {
            name: dict.fromkeys(zoo_bars.BARS["faces128"], 100.0)
            for name in ("StarGAN", "AttGAN", "HiSD")
        }
    )
    table.loc["specialist L2_mask", ["AttGAN", "HiSD"]] = 0.09
    said = zoo_bars.verdicts(table, "faces128")
    assert said[0] == "edit success >= 0.85: 3 of 3; below: none"
    assert said[-1] == "specialist L2_mask >= 0.1: 1 of 2; below: HiSD"


def test_one_generator_may_be_named_without_a_list() -> None:
    assert list(load_zoo("celeba64", models="StarGAN", device="cpu")) == ["StarGAN"]


@pytest.mark.parametrize("asked", ["foo", "cuda:1"])
def test_a_device_that_is_not_there_is_named(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("AEF_DEVICE", asked)
    with pytest.raises(ValueError, match=f"AEF_DEVICE='?{asked}"):
        default_device()
