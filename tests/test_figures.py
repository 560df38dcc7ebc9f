"""Figures of the paper: drawn from what they are given, kept with numbers that do not wander."""

import json
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from aef_core.models import zoo as loader
from aef_core.models.zoo import EMBEDDED, checkpoints, load_zoo
from aef_core.plots import OTHER_COLOURS
from companion import plots
from companion.config import ASSETS
from companion.kept import published
from companion.plots import style
from companion.plots.style import MODEL_COLOURS, save_figure
from companion.studies.qualitative import forgeries, picture_numbers
from companion.studies.unseen import load_unseen

from .conftest import make_faces, tiny_zoo


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def collisions(texts: list[Text]) -> list[str]:
    """Texts that lie on one another, once drawn."""
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    return [f"{a}, {b}" for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


def test_generators_methods_and_the_rest_have_no_colour_in_common() -> None:
    generators = {*MODEL_COLOURS.values(), *OTHER_COLOURS}
    families = generators, set(style.METHOD_COLOURS.values()), set(style.SERIES_COLOURS)
    for one, other in combinations((*families, set(plots.verdicts.COLOURS)), 2):
        assert not one & other
    aef = np.array(to_rgb(style.METHOD_COLOURS["aef"]))
    others = set.union(*families) - {style.METHOD_COLOURS["aef"]}
    assert min(np.abs(aef - to_rgb(c)).max() for c in others) > 0.2  # one strong colour


def test_a_variant_of_a_method_wears_its_colour() -> None:
    for label in ("aef", "AEF", "AEF, tau 0.001", "AEF, outputs alone"):
        assert style.is_aef(label)
        assert style.ink(label) == style.method_colour(label) == style.METHOD_COLOURS["aef"]
    assert style.method_colour("PGD per image") == style.METHOD_COLOURS["pgd"]
    assert style.method_colour("max-min (ours)") == style.METHOD_COLOURS["max-min"]
    assert style.method_colour("a rule of one's own") == "0.35"
    every = [style.method_colour(m) for m in (*published.METHODS, "grad-norm")]
    assert len(set(every)) == len(every)


def main_table_numbers() -> pd.DataFrame:
    """PGD does nothing to HiSD; a pattern per photo is best of all."""
    told = {"PGD": (1.6, -0.1), "AEF": (0.8, 0.4), "PGD per image": (1.0, 0.9)}
    rows = []
    for method, shares in told.items():
        for measure in ("share", "L2_mask over random"):
            cells = zip(("StarGAN", "HiSD", "min"), (*shares, min(shares)), strict=True)
            rows += [(method, measure, k, v, v - 0.05, v + 0.05) for k, v in cells]
        rows += [(method, "L2_mask", "mean", 0.1, 0.09, 0.11), (method, "SSIM", "", 0.9, 0.8, 1.0)]
    rows += [("single-model", "L2_mask", k, 0.2, 0.1, 0.3) for k in ("StarGAN", "HiSD", "mean")]
    return pd.DataFrame(rows, columns=["method", "measure", "model", "value", "low", "high"])


def test_the_map_of_shares_hatches_what_is_not_above_random() -> None:
    (ax,) = plots.methods.share_map(main_table_numbers()).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["AEF", "PGD", "PGD per image"]
    assert ax.get_yticklabels()[0].get_color() == style.METHOD_COLOURS["aef"]
    assert [bool(p.get_hatch()) for p in ax.patches] == [*[False] * 4, True, True, *[False] * 3]
    said = [t.get_text() for t in ax.texts if "L2_mask" not in t.get_text()]
    assert said == ["80%", "40%", "40%", "160%", "100%", "90%", "90%"]
    assert ax.patches[3].get_facecolor() == ax.patches[6].get_facecolor(), "full is full"


def test_dots_of_methods_have_intervals_and_the_levels_of_the_references() -> None:
    first, mean, _ = plots.methods.intervals(main_table_numbers()).axes
    arms = first.collections[0].get_segments()[0]
    assert arms[:, 0].tolist() == pytest.approx([0.35, 0.45])
    assert arms[0, 1] == 0, "AEF has the best worst share"
    assert [line.get_xdata()[0] for line in first.lines][:1] == [1.0]
    assert [line.get_xdata()[0] for line in mean.lines][:1] == [0.2]


def test_logarithmic_panels_have_dots_and_no_bars() -> None:
    table = pd.DataFrame({"far": [1e-7, 1e-3], "near": [0.5, 0.6]}, index=["AttGAN", "StarGAN"])
    far, near = plots.stress.predictors(table, ["far", "near"]).axes
    assert (far.get_yscale(), near.get_yscale()) == ("log", "linear")
    assert not far.patches
    assert near.get_ylim()[0] == 0


def test_numbers_over_bars_stay_apart() -> None:
    table = pd.DataFrame(
        [{"method": m, "model": k, "value": v, "low": v / 2, "high": 2 * v}
         for m in "abcd" for k, v in zip(MODEL_COLOURS, (0.16, 0.0093, 0.00016, 0.00066),
                                         strict=True)]
    )  # fmt: skip
    plots.use_style()
    fig = plots.interruption_bars(table)
    fig.canvas.draw()
    texts = fig.axes[0].texts
    assert len(texts) == 17  # and the threshold's name
    assert not collisions(texts)


def test_what_was_never_interrupted_is_grey_in_the_map_of_survival() -> None:
    rows = [
        {"method": "AEF", "transform": t, "model": k, "l2_mask": v}
        for t in ("8-bit", "JPEG 90") for k, v in (("StarGAN", 0.2), ("HiSD", 0.001))
    ]  # fmt: skip
    fig = plots.stress.survival_map(pd.DataFrame(rows))
    assert [patch.get_x() for patch in fig.axes[0].patches] == [1]
    assert "not interrupted" in fig.get_supxlabel()
    for row in rows:
        row["l2_mask"] = 0.2
    whole = plots.stress.survival_map(pd.DataFrame(rows))
    assert not whole.axes[0].patches
    assert whole.get_supxlabel() == ""


def test_a_sidecar_keeps_small_numbers() -> None:
    table = pd.DataFrame({"model": ["AttGAN"], "gradient": [3.14159265e-7], "n": [None]})
    path = save_figure(plt.figure(), "small", table).with_suffix(".json")
    told = json.loads(path.read_text())["data"]
    assert told == [{"index": 0, "model": "AttGAN", "gradient": 3.14159e-7, "n": None}]


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
            assert not collisions(ax.texts)


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
