"""The views without a browser: controls are moved by code, data and pictures must follow."""

import html
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from aef_core.faces import load_faces, to_uint8
from aef_core.methods import make_method
from aef_core.metrics import evaluate
from aef_core.models import DeepfakeModel, StarGAN
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Problem
from aef_core.perturbation.store import Run
from aef_core.runs import find_run, optimize, run_identity
from companion import widgets
from companion.reproduce import WIDGET, keep_outputs
from companion.studies.sentences import sentences
from companion.toy import Game, replay
from companion.widgets.viewer import MEANING

from .conftest import make_faces

PLAYERS = ("StarGAN", "AttentionGAN", "HiSD", "AttGAN")
CONFIG = PerturbationConfig(steps=5, step_size=0.02, batch=2, init=0.2)
SIZE = 32


def recorded(rule: str = "aef", **settings: float) -> Run:
    """A run of the live game: its history is all that the explorer reads."""
    history = Game(PLAYERS, steps=12).play(rule, **settings)
    config = {"loop": {"eps": 0.05}}
    return Run(torch.zeros(1, 3, SIZE, SIZE), history, np.zeros((12, 4, 4)), config, 1.0)


def tiny() -> dict[str, DeepfakeModel]:
    torch.manual_seed(0)
    model = StarGAN(width=4, blocks=1, image_size=SIZE)
    return {"StarGAN": model.eval().requires_grad_(False)}


def error_of(view: widgets.WeightExplorer) -> str:
    return view.message.value if "role='alert'" in view.message.value else ""


def test_the_game_shows_what_dynamic_weights_are_for() -> None:
    game = Game(PLAYERS)
    averaged, sharp = game.play("uniform"), game.play("aef", tau=0.003)
    worst = [h.groupby("model")["strength"].mean().min() for h in (averaged, sharp)]
    assert worst[1] > 1.5 * worst[0]
    flat = game.play("aef", tau=1.0)["weight"]
    assert flat.between(0.2, 0.3).all()  # far above the strengths, tau makes AEF averaging
    assert game.play("mgda")["weight"].between(0, 1).all()
    pd.testing.assert_frame_equal(averaged, Game(PLAYERS).play("uniform"))


def test_an_impossible_game_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cosine is out of range: -0\.5, must be above -0\.33"):
        Game(PLAYERS, cosine=-0.5)


def test_replay_of_the_own_rule_gives_the_recorded_weights() -> None:
    history = recorded("aef", tau=0.004).history
    again = replay(history, "aef", tau=0.004)
    np.testing.assert_allclose(again["weight"], history["weight"], rtol=1e-12)
    assert list(again["model"]) == list(history["model"])
    three = replay(history, "aef", PLAYERS[:3], tau=0.004)
    np.testing.assert_allclose(three.groupby("step")["weight"].sum(), 1)


def test_replay_refuses_what_a_history_cannot_answer() -> None:
    with pytest.raises(ValueError, match="no generator CycleGAN in this run"):
        replay(recorded().history, "aef", ["CycleGAN"])
    with pytest.raises(ValueError, match="mgda cannot be replayed"):
        replay(recorded().history, "mgda")


@pytest.fixture
def explorer() -> widgets.WeightExplorer:
    return widgets.WeightExplorer({"AEF": recorded("aef", tau=0.1), "mean": recorded("uniform")})


def test_explorer_follows_its_sliders(explorer: widgets.WeightExplorer) -> None:
    weights, picture = explorer.history["weight"], explorer.picture.value
    explorer.weigh.tau.value = 0.001
    assert not explorer.history["weight"].equals(weights)
    assert explorer.picture.value != picture
    assert bytes(picture).startswith(b"\x89PNG")
    assert "Open-loop" in explorer.caption.value
    explorer.weigh.rule.value = "uniform"
    assert set(explorer.history["weight"]) == {0.25}
    assert explorer.weigh.tau.disabled
    assert explorer.weigh.beta.disabled


def test_explorer_plays_the_live_game(explorer: widgets.WeightExplorer) -> None:
    assert explorer.imbalance.disabled
    explorer.source.value = "live game"
    assert explorer.run.disabled
    assert not explorer.imbalance.disabled
    before = explorer.history
    explorer.imbalance.value = 9
    assert not explorer.history.equals(before)
    assert "Closed loop" in explorer.caption.value


def test_explorer_draws_three_generators_on_a_triangle(explorer: widgets.WeightExplorer) -> None:
    explorer.generators["HiSD"].value = False
    titles = [ax.get_title() for ax in explorer.static().axes]
    assert any("simplex" in title for title in titles)
    np.testing.assert_allclose(explorer.history.groupby("step")["weight"].sum(), 1)


def test_explorer_tells_errors_in_place(explorer: widgets.WeightExplorer) -> None:
    explorer.weigh.rule.value = "mgda"
    assert "cannot be replayed" in error_of(explorer)
    explorer.source.value = "live game"  # which has the inner products
    assert error_of(explorer) == ""
    for box in explorer.generators.values():
        box.value = False
    assert "tick at least one" in error_of(explorer)


def results(edits: tuple[str, ...] = ("Male", "Young")) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = [
        (method, seed, f"face {i}", model, edit, level * (1 + 0.1 * draw.random()))
        for method, level in (
            ("random", 0.001),
            ("uniform", 0.02),
            ("aef", 0.06),
            ("single-model", 0.08),
        )
        for seed in (0, 1)
        for i in range(6)
        for model in PLAYERS
        for edit in edits
    ]
    columns = ["method", "seed", "image", "model", "edit", "l2_mask"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(interrupted=table["l2_mask"] > 0.05, excluded=False)
    survives = (table["method"] == "uniform").astype(float)
    return table.assign(survives=survives, outcome=survives.map({1.0: "unaffected", 0.0: "undone"}))


def test_comparer_says_who_is_better() -> None:
    comparer = widgets.MethodComparer(results())
    comparer.method.value, comparer.baseline.value = "aef", "uniform"
    assert "paired on images and seeds: better" in comparer.caption.value
    assert "0% still work under aef, 100% under uniform" in comparer.caption.value
    picture = comparer.picture.value
    comparer.method.value, comparer.baseline.value = "uniform", "aef"
    assert "paired on images and seeds: worse" in comparer.caption.value
    comparer.methods.value = ("aef",)
    assert set(comparer.means["method"]) == {"aef"}
    assert comparer.picture.value != picture
    comparer.edit.value, comparer.seed.value = "Male", 1
    assert len(comparer.chosen()) == 4 * 6 * len(PLAYERS)
    comparer.methods.value = ()
    assert "select at least one" in comparer.message.value


@pytest.fixture
def viewer() -> widgets.BeforeAfter:
    noise = (torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) - 0.5) / 10
    run = Run(noise, pd.DataFrame(), np.zeros(0), {"loop": {"eps": 0.05}}, 1.0)
    return widgets.BeforeAfter(tiny(), make_faces(2), {"noise": run})


def test_viewer_scales_the_perturbation(viewer: widgets.BeforeAfter) -> None:
    assert viewer.value > 0
    strong = viewer.value
    viewer.eps.value = 0
    assert viewer.value < strong / 10  # only the rounding to 8 bits is left
    assert viewer.visible > 45
    assert "not interrupted" in viewer.caption.value
    viewer.eps.value = 0.1
    assert viewer.value > strong
    assert "scaled from a run" in viewer.caption.value


def test_viewer_follows_face_and_edit(viewer: widgets.BeforeAfter) -> None:
    before = viewer.images["original"]
    viewer.face.value = "f0-1"
    assert not torch.equal(viewer.images["original"], before)
    viewer.forger.edit.value = "Young"
    assert "forged: Young" in viewer.images


def test_viewer_says_in_words_what_became_of_the_edit(viewer: widgets.BeforeAfter) -> None:
    edit, run = viewer.forger.edit.value, viewer.runs["noise"]
    faces = make_faces(2)
    rows = evaluate(viewer.zoo, faces, run.delta)
    rows = rows[rows["edit"] == edit]
    assert viewer.outcome == rows["outcome"].iloc[0]
    assert MEANING[viewer.outcome].capitalize() in viewer.caption.value
    assert f"own eps: {sentences(rows).iloc[0]}." in html.unescape(viewer.caption.value)


def test_viewer_tells_a_fault_of_its_own_and_lets_it_be_seen(
    viewer: widgets.BeforeAfter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault() -> None:
        raise KeyError("no such column")

    monkeypatch.setattr(viewer, "_compute", fault)
    with pytest.raises(KeyError):
        viewer._update()
    assert "KeyError" in error_of(viewer)


def upload(viewer: widgets.BeforeAfter, name: str, content: bytes) -> None:
    file = {"name": name, "type": "image/png", "size": len(content)}
    file |= {"content": memoryview(content), "last_modified": datetime.now(UTC)}
    viewer.upload.value = (file,)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def bad_uploads() -> Iterator[tuple[bytes, str]]:
    yield b"not an image", "bad.png cannot be read (not an image"
    yield encoded(Image.new("RGB", (96, 96), "grey")), "bad.png: no face found in this image of 96"


@pytest.mark.parametrize(("content", "reason"), list(bad_uploads()), ids=("text", "no face"))
def test_viewer_refuses_an_upload_with_a_reason(
    viewer: widgets.BeforeAfter, content: bytes, reason: str
) -> None:
    picture = viewer.picture.value
    upload(viewer, "bad.png", content)
    assert reason in error_of(viewer)
    assert viewer.picture.value == picture
    assert list(viewer.face.options) == ["f0-0", "f0-1"]


def test_viewer_takes_a_photo_with_a_face(viewer: widgets.BeforeAfter) -> None:
    pixels = to_uint8(load_faces(n=1).images)[0].permute(1, 2, 0).numpy()
    photo = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)
    upload(viewer, "me.png", encoded(photo))
    assert error_of(viewer) == ""
    assert viewer.face.value == "me.png"
    assert viewer.images["original"].shape == (3, SIZE, SIZE)


def panel() -> widgets.OptimisationPanel:
    return widgets.OptimisationPanel(tiny(), make_faces(4), make_faces(1, seed=1), CONFIG)


def paused() -> widgets.OptimisationPanel:
    """A panel held after its first step: the click arrives while the references are made."""
    held = panel()
    assert "not run yet" in held.message.value
    held.start.click()
    held.pause.click()
    assert held.reached.wait(120)
    assert held.phase == "paused"
    return held


def uninterrupted() -> Run:
    return optimize(tiny(), make_faces(4), "aef", CONFIG, keep=False, progress=False)


def test_a_stopped_panel_keeps_a_run_that_ends_with_the_same_bits() -> None:
    first = paused()
    first.stop.click()
    first.wait(120)
    assert first.phase == "ready"
    assert "kept" in first.message.value
    again = panel()  # another session: only the store knows
    assert "stopped earlier at step" in again.message.value
    again.start.click()
    again.wait(120)
    assert again.progress.value == CONFIG.steps
    straight = uninterrupted()
    assert torch.equal(again.run.delta, straight.delta)
    assert again.run.history["weight"].equals(straight.history["weight"])
    assert panel().start.disabled  # finished: found again


def test_a_paused_panel_resumes() -> None:
    held = paused()
    picture = held.picture.value
    assert (held.start.disabled, held.pause.disabled, held.resume.disabled) == (True, True, False)
    held.resume.click()
    held.wait(120)
    assert torch.equal(held.run.delta, uninterrupted().delta)
    assert held.picture.value != picture
    identity = run_identity(Problem(tiny(), make_faces(4)), make_method("aef"), CONFIG)
    assert find_run(identity)[0].seconds < 120


def test_panel_tells_what_went_wrong_in_its_thread() -> None:
    broken = panel()
    with torch.no_grad():
        next(broken.zoo["StarGAN"].parameters()).fill_(float("nan"))
    broken.start.click()
    broken.wait(120)
    assert "StarGAN returned a loss or gradient that is not finite" in error_of(broken)
    assert broken.phase == "ready"


def test_a_stored_notebook_shows_the_picture(explorer: widgets.WeightExplorer, tmp_path) -> None:
    bundle = explorer._repr_mimebundle_()
    assert {WIDGET, "image/png", "text/plain"} <= set(bundle)
    bar = nbformat.v4.new_output("display_data", {WIDGET: {}, "text/plain": "0%"})
    view = nbformat.v4.new_output("display_data", bundle)
    cell = nbformat.v4.new_code_cell("explorer", outputs=[bar, view])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "ran.ipynb")
    keep_outputs(tmp_path / "ran.ipynb", tmp_path / "stored.ipynb")
    (kept,) = nbformat.read(tmp_path / "stored.ipynb", 4).cells[0].outputs
    assert set(kept["data"]) == {"image/png", "text/plain"}


def test_every_control_is_labelled(
    explorer: widgets.WeightExplorer, viewer: widgets.BeforeAfter
) -> None:
    for view in (explorer, viewer, panel(), widgets.MethodComparer(results())):
        controls = [w for w in descendants(view) if hasattr(w, "disabled")]
        assert len(controls) >= 6
        for control in controls:
            assert control.description, control
            assert control.tooltip, control.description


def descendants(widget) -> list:
    children = getattr(widget, "children", ())
    return [*children, *(w for child in children for w in descendants(child))]
