"""The embedded zoo loads, edits and can be interrupted; foreign checkpoints are refused."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

import aef_core.models.zoo as zoo_module
from aef_core.config import ASSETS, default_device
from aef_core.faces import load_faces
from aef_core.metrics import evaluate, per_model
from aef_core.models import ARCHITECTURES, HAIR_COLOURS, DeepfakeModel
from aef_core.models.base import ATTRIBUTES, edit_attributes
from aef_core.models.judge import predict_attributes
from aef_core.models.weights import BadCheckpoint
from aef_core.models.zoo import EMBEDDED, OFFICIAL, checkpoints, load_zoo
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize


@pytest.fixture(scope="module")
def embedded() -> dict[str, DeepfakeModel]:
    return load_zoo(device="cpu")


def test_embedded_files_are_small_and_match_their_checksums() -> None:
    entries = checkpoints(EMBEDDED).values()
    files = [EMBEDDED / entry.file for entry in entries]
    assert sum(f.stat().st_size for f in files) < 40e6
    for file, entry in zip(files, entries, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256
    assert sum(f.stat().st_size for f in ASSETS.rglob("*") if f.is_file()) < 50e6


@torch.no_grad()
def test_embedded_models_are_frozen_and_finite(embedded: dict[str, DeepfakeModel]) -> None:
    faces = load_faces(split="test", n=2)
    assert list(embedded) == list(ARCHITECTURES)
    for model in embedded.values():
        assert model.image_size == faces.images.shape[-1]
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        for edit in model.edits:
            forged = model(faces.images, model.conditions(faces.attributes, edit))
            assert forged.shape == faces.images.shape
            assert forged.isfinite().all()


@torch.no_grad()
def test_edits_are_what_they_say(embedded: dict[str, DeepfakeModel]) -> None:
    """The independent classifier sees black hair after the edit, in most faces that had none."""
    column = ATTRIBUTES.index("Black_Hair")
    faces = load_faces(split="test", n=14)
    others = faces[(faces.attributes[:, column] == 0).nonzero().flatten()]
    for name, model in embedded.items():
        forged = model(others.images, model.conditions(others.attributes, "Black_Hair"))
        assert predict_attributes(forged)[:, column].float().mean() > 0.6, name


def test_a_reference_interrupts_what_noise_does_not(embedded: dict[str, DeepfakeModel]) -> None:
    zoo = {"StarGAN": embedded["StarGAN"]}
    config = PerturbationConfig(steps=6, step_size=2e-2, batch=2, feature_weight=0.0)
    run = optimize(zoo, load_faces(n=4), "uniform", config, progress=False)
    test = load_faces(split="test", n=2)
    noise = 0.05 * torch.randn(run.delta.shape, generator=torch.Generator().manual_seed(0)).sign()
    optimised, random = (per_model(evaluate(zoo, test, d))["l2_mask"].item()
                         for d in (run.delta, noise))  # fmt: skip
    assert optimised > 2 * random


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EMBEDDED / "zoo.json", tmp_path)
    victim = tmp_path / checkpoints(EMBEDDED)["StarGAN"].file
    victim.write_bytes((EMBEDDED / victim.name).read_bytes()[:-1] + b"?")
    monkeypatch.setattr(zoo_module, "EMBEDDED", tmp_path)
    with pytest.raises(BadCheckpoint, match=r"StarGAN\.safetensors does not match its SHA-256"):
        load_zoo(models=["StarGAN"])
    victim.unlink()
    with pytest.raises(BadCheckpoint, match="no such file: reinstall"):
        load_zoo(models=["StarGAN"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imagenet"}, "unknown zoo 'imagenet'; known: official"),
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
        ({"something": torch.zeros(1)}, "it holds no weights under 'G'"),
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


def test_conditions_follow_each_model_s_convention(embedded: dict[str, DeepfakeModel]) -> None:
    attributes = torch.zeros(2, 13, dtype=torch.uint8)
    attributes[:, ATTRIBUTES.index("Blond_Hair")] = 1
    zoo = embedded
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
    tag = list(hisd.tags).index("Eyeglasses")
    styled = hisd.condition(tag, hisd.extractors(reference)[:, tag].expand(2, -1))
    assert styled.shape == again.shape
    assert not torch.equal(styled, hisd.conditions(attributes, "Eyeglasses"))
    with pytest.raises(ValueError, match="StarGAN has no edit 'Eyeglasses'"):
        zoo["StarGAN"].conditions(attributes, "Eyeglasses")


def test_one_generator_may_be_named_without_a_list() -> None:
    assert list(load_zoo(models="StarGAN", device="cpu")) == ["StarGAN"]


@pytest.mark.parametrize("asked", ["foo", "cuda:1"])
def test_a_device_that_is_not_there_is_named(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("AEF_DEVICE", asked)
    with pytest.raises(ValueError, match=f"AEF_DEVICE='?{asked}"):
        default_device()
