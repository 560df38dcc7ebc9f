"""The built explorer page: packed small, whole in one file, and alive under the keyboard."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from aef_core.config import REPOSITORY
from aef_core.errors import BadInput
from aef_core.metrics import Evaluator
from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize
from aef_core.weighting import RULES
from companion.site import Show, explorer_page, page
from companion.site.gather import OWN
from companion.site.pictures import drawn, most_edited, packed

from .browser import browser_page
from .conftest import make_faces, tiny_zoo

SITE = REPOSITORY / "notebooks" / "companion" / "site"
METHODS = ("random signs", "AEF", OWN)


@pytest.fixture(scope="module")
def show() -> Show:
    """Tiny generators, random patterns under three names, and a real run of six steps."""
    zoo, faces = tiny_zoo(), make_faces(5)
    judge, tables, patterns = Evaluator(zoo, faces), [], {}
    for seed, method in enumerate(METHODS):
        noise = torch.Generator().manual_seed(seed)
        delta = (torch.rand(1, 3, 32, 32, generator=noise) * 2 - 1) * 0.05
        patterns[method] = dict.fromkeys(zoo, delta)
        tables.append(judge(delta).assign(method=method))
    patterns[OWN] = {name: delta.clone() for name in zoo}  # one of its own for each
    config = PerturbationConfig(steps=6, step_size=0.01)
    run = optimize(zoo, faces, "aef", config, keep=False, progress=False)
    return Show(zoo, faces, patterns, pd.concat(tables), {"AEF": run.history})


@pytest.fixture(scope="module")
def built(show: Show, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "explorer.html"
    assert explorer_page(show, out, 2) == out.stat().st_size
    return out


def test_every_picture_has_a_place_and_a_verdict(show: Show) -> None:
    view = packed(show, 2)
    pairs = [(m, e) for m, edits in view["edits"].items() for e in edits]
    places = [view["tiles"]["photo"]]
    places += [view["tiles"]["forged"][m][e] for m, e in pairs]
    places += [view["tiles"]["after"][method][m][e] for method in METHODS for m, e in pairs]
    shared = {p for method in METHODS[:2] for p in view["tiles"]["protected"][method].values()}
    own = set(view["tiles"]["protected"][OWN].values())
    assert (len(shared), len(own)) == (2, len(show.zoo))
    assert sorted([*places, *shared, *own]) == list(range(len(places) + len(shared) + len(own)))
    rows = show.verdicts.set_index(["method", "model", "edit", "image"])
    for method, (model, edit) in ((n, pair) for n in METHODS for pair in pairs):
        for face, (outcome, value) in zip(
            view["faces"], view["verdicts"][method][model][edit], strict=True
        ):
            row = rows.loc[(method, model, edit, face)]
            assert view["outcomes"][outcome] == row["outcome"]
            assert value is None or value == pytest.approx(row["l2_mask"], abs=1e-5)


def test_pictures_are_those_of_the_forgers(show: Show) -> None:
    faces = most_edited(show, 2)
    tiles, pictures = drawn(show, faces)
    judge = Evaluator(show.zoo, faces)
    edit = show.zoo["HiSD"].edits[0]
    assert torch.equal(pictures[tiles["photo"]], faces.images)
    assert torch.equal(pictures[tiles["forged"]["HiSD"][edit]], judge.forged("HiSD", edit))
    assert not torch.equal(pictures[tiles["after"]["AEF"]["HiSD"][edit]],
                           pictures[tiles["forged"]["HiSD"][edit]])  # fmt: skip


def test_too_many_pictures_are_refused(show: Show) -> None:
    with pytest.raises(BadInput, match=r"more than 0.01 MB .* show fewer faces"):
        packed(show, 2, limit=10_000)


def test_the_page_fetches_nothing(built: Path) -> None:
    text = built.read_text()
    outside = re.findall(r"""(?:src|href)=["']?(?!data:)[^"'>]+|url\([^)]*\)|@import""", text)
    assert outside == []
    assert "http://www.w3.org/2000/svg" in text  # the one address, a name
    assert re.findall(r"https?://(?!www\.w3\.org)", text) == []


def test_scripts_are_small_and_data_cannot_end_them() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in SITE.glob("*.*s")}
    assert len(sizes) == 6
    assert {name: n for name, n in sizes.items() if n > 250} == {}
    assert "</script" not in page.embedded({"name": "</script><b>"})


def shot(view, name: str, tmp_path: Path) -> bytes:
    folder = Path(os.environ.get("AEF_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return view.screenshot(path=folder / f"explorer-{name}.png", full_page=True)


@pytest.mark.browser
def test_a_slider_moves_numbers_and_pictures(built: Path, tmp_path: Path) -> None:
    with browser_page(patience=60) as view:
        asked, errors = [], []
        view.on("request", lambda request: asked.append(request.url))
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.goto(built.as_uri())
        assert "AEF (tau 0.1, beta 0.9)" in view.inner_text("#said")
        assert view.locator("#rule option").count() == 12

        def picture() -> str:
            return view.locator("#strengths").inner_html() + view.locator("#weights").inner_html()

        drawn_before, numbers = picture(), view.inner_text("#editors")
        view.locator("input[name=tau]").focus()
        for _ in range(20):
            view.keyboard.press("ArrowLeft")
        assert "tau 0.016" in view.inner_text("#said")
        assert view.locator("input[name=tau]").get_attribute("aria-valuetext") == "tau 0.016"
        assert picture() != drawn_before
        assert view.inner_text("#editors") != numbers
        view.locator("input[name=A]").uncheck()
        assert view.locator("#weights path").count() == 3
        view.locator("input[value=run]").focus()
        view.keyboard.press("Space")
        assert view.locator("#editors tr").count() == 4
        assert view.get_attribute("#step", "max") == "5"
        residual = view.inner_text("#residual-shown")
        view.select_option("#rule", "ohem")
        assert view.inner_text("#residual-shown") == "0" != residual
        shot(view, "desktop", tmp_path)
        assert errors == []
        assert [url for url in asked if not url.startswith(("data:", built.as_uri()))] == []


@pytest.mark.browser
def test_the_viewer_follows_its_choices(built: Path, tmp_path: Path) -> None:
    pixels = "c => c.toDataURL()"
    with browser_page(patience=60) as view:
        view.set_viewport_size({"width": 390, "height": 844})
        view.emulate_media(color_scheme="dark")
        view.goto(built.as_uri())
        last = view.locator("#story canvas").nth(3)
        view.wait_for_function("document.querySelector('#story canvas').width == 32")
        before, said = last.evaluate(pixels), view.inner_text("#judged")
        view.locator("#editor-chips label").nth(3).click()
        view.wait_for_function("document.querySelectorAll('#story canvas')[3].width == 32")
        assert last.evaluate(pixels) != before
        assert "HiSD" in view.inner_text("#judged") != said
        view.locator("input[name=method]").first.focus()
        view.keyboard.press("ArrowRight")
        assert view.locator("input[name=method]:checked").get_attribute("value") == "AEF"
        assert view.evaluate("document.documentElement.dataset.theme") == "dark"
        assert view.evaluate("document.documentElement.scrollWidth") == 390
        shot(view, "phone-dark", tmp_path)


def test_rules_are_described_by_their_docstrings() -> None:
    said = page.about(RULES["aef"].__doc__)
    assert "least interrupted" in said["line"]
    assert said["formula"].startswith("w = softmax(-E / tau)")
    assert page.about("Formula-free.") == {"line": "Formula-free.", "formula": ""}
    assert all(page.about(rule.__doc__)["formula"] for rule in RULES.values())


def test_a_recorded_run_keeps_its_numbers(show: Show) -> None:
    history = show.histories["AEF"]
    kept = json.loads(page.embedded(page.trace(history)))
    assert kept["names"] == list(show.zoo)
    wide = history.pivot(index="step", columns="model", values="strength")[kept["names"]]
    torch.testing.assert_close(
        torch.tensor(kept["strength"], dtype=torch.float64), torch.tensor(wide.to_numpy()),
        rtol=1e-6, atol=0,
    )  # fmt: skip
