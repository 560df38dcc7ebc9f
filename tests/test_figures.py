"""Figures of the paper: drawn from what they are given, kept with numbers that do not wander."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from aef_core.models import zoo as loader
from aef_core.models.zoo import EMBEDDED, checkpoints, load_zoo
from companion import plots
from companion.config import ASSETS
from companion.plots.style import MODEL_COLOURS, save_figure
from companion.studies.qualitative import forgeries, picture_numbers, rule_points
from companion.studies.unseen import load_unseen

from .conftest import make_faces, tiny_zoo


def test_a_figure_drawn_again_gives_the_same_sidecar() -> None:
    table = pd.DataFrame({"model": ["HiSD"], "l2_mask": [0.1]})
    written = []
    for _ in range(2):
        fig, ax = plt.subplots()
        ax.plot([0, 1])
        path = save_figure(fig, "again", table, profile="smoke", seeds=[0])
        written.append([path.with_suffix(s).read_bytes() for s in (".json", ".png", ".pdf")])
    assert written[0] == written[1]
    sidecar = json.loads(written[0][0])
    assert sidecar["config"] == {"profile": "smoke", "seeds": [0]}
    assert sidecar["data"] == [{"index": 0, "model": "HiSD", "l2_mask": 0.1}]
    assert "commit" not in sidecar
    assert {"aef_core", "python", "torch"} == set(sidecar["versions"])


def test_the_sidecar_names_the_weights_that_were_loaded_and_shown(monkeypatch) -> None:
    """Not the zoo's under a figure of the unseen one."""
    monkeypatch.setattr(loader, "LOADED", {})
    unseen, zoo = load_unseen("cpu"), load_zoo(models=["StarGAN"], device="cpu")
    places = {"embedded": (EMBEDDED, "StarGAN"), "unseen": (ASSETS / "unseen", "VAE")}
    digits = {
        place: {name: checkpoints(folder)[name].sha256[:8]}
        for place, (folder, name) in places.items()
    }

    def named(**shown) -> dict:
        path = save_figure(plt.figure(), "weights", [], **shown).with_suffix(".json")
        plt.close("all")
        return json.loads(path.read_text())["weights"]

    assert named() == digits
    assert named(zoo=unseen) == {"unseen": digits["unseen"]}
    assert named(zoo=zoo) == {"embedded": digits["embedded"]}
    assert list(named(zoo=tiny_zoo())) == ["not from a zoo"]


def test_another_setting_is_another_hash() -> None:
    hashes = []
    for config in ({"seed": 0, "eps": 0.05}, {"eps": 0.05, "seed": 0}, {"seed": 1, "eps": 0.05}):
        path = save_figure(plt.figure(), "hash", [], **config)
        hashes.append(json.loads(path.with_suffix(".json").read_text())["config_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_diagrams_name_every_generator_and_stay_in_their_frame() -> None:
    for fig, panels in ((plots.diagrams.strategies(), 2), (plots.diagrams.framework(), 1)):
        assert len(fig.axes) == panels
        fig.canvas.draw()
        for ax in fig.axes:
            said = [text.get_text() for text in ax.texts]
            assert set(MODEL_COLOURS) <= set(said)
            frame = ax.get_window_extent()
            for text in ax.texts:
                box = text.get_window_extent()
                inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
                assert inside and frame.y0 <= box.y0 and box.y1 <= frame.y1, text.get_text()


def test_the_grid_has_a_block_a_generator_and_a_row_a_method() -> None:
    zoo, faces = tiny_zoo(), make_faces(2, seed=1)
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    blocks = forgeries(zoo, faces, {"none": noise * 0, "uniform": noise}, "Black_Hair")
    assert list(blocks) == list(zoo)
    assert list(blocks["HiSD"]) == ["original", "forged", "none", "uniform"]
    fig = plots.grids.forgery_grid(blocks)
    assert len(fig.axes) == 4 * 4 * 2
    assert {"original", "forged", "averaging"} <= {text.get_text() for text in fig.texts}
    unmoved = (blocks["HiSD"]["none"] - blocks["HiSD"]["forged"]).abs().max()
    moved = (blocks["HiSD"]["uniform"] - blocks["HiSD"]["forged"]).abs().max()
    assert unmoved < moved  # rounding to 8 bits against a perturbation
    numbers = picture_numbers(blocks)
    assert len(numbers) == 4 * 2
    assert set(numbers) == {"model", "method", "l2_mask"}
    edits = {name: model.edits[-1] for name, model in zoo.items()}
    assert set(forgeries(zoo, faces, {"noise": noise}, edits)) == set(zoo)


def test_a_photo_is_taken_apart_in_four() -> None:
    photo = make_faces(1).images[0]
    fig = plots.grids.photo_apart(photo, (photo + 0.05).clamp(-1, 1), 0.05)
    assert [ax.get_title() for ax in fig.axes[:4]] == [
        "original",
        "protected",
        "difference x 20",
        "spectrum of the difference",
    ]


def test_strength_and_balance_of_each_rule_come_from_the_table() -> None:
    rows = [
        {"method": m, "model": k, "image": i, "l2_mask": v + i / 100, "excluded": False}
        for m, values in {"uniform": (0.1, 0.01), "grad-norm": (0.06, 0.02)}.items()
        for k, v in zip(("StarGAN", "HiSD"), values, strict=True)
        for i in (0, 1)
    ]
    taus = pd.DataFrame({"tau": [0.01, 0.01, 0.1, 0.1], "model": ["StarGAN", "HiSD"] * 2,
                         "l2_mask": [0.05, 0.03, 0.09, 0.02]})  # fmt: skip
    points = rule_points(pd.DataFrame(rows), taus).set_index("label")
    assert list(points["rule"]).count("aef") == 2
    assert points.loc["averaging", "min"] == pytest.approx(0.015)
    assert points.loc["averaging", "mean"] == pytest.approx(0.06)
    assert points.loc["0.01", "min"] == pytest.approx(0.03)
    ax = plots.grids.strength_against_balance(points.reset_index()).axes[0]
    assert {"averaging", "static", "0.01", "0.1"} <= {t.get_text() for t in ax.texts}


def test_trajectories_have_a_column_a_rule_and_a_line_a_generator() -> None:
    history = pd.DataFrame(
        [{"step": s, "model": m, "strength": 0.1 * (s + 1), "weight": 0.25}
         for s in range(3) for m in MODEL_COLOURS]
    )  # fmt: skip
    fig = plots.grids.trajectories({"uniform": history, "aef": history})
    assert [len(ax.lines) for ax in fig.axes] == [4] * 4
    assert [ax.get_title() for ax in fig.axes[:2]] == ["averaging", "AEF"]
