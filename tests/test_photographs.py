"""Kept patterns on photographs of people: who is shown, what is kept, of which patterns."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from aef_core.faces.sources import split_of
from aef_core.metrics import evaluate, nonempty_mean
from aef_core.models import ATTRIBUTES
from aef_core.models import judge as judge_module
from companion import kept
from companion.__main__ import app
from companion.detectors.data import LFW
from companion.kept import photographs as p
from companion.kept.store import KEPT, RECORDS, Kept
from companion.studies.differences import REFERENCE
from companion.zoo.photos import SHARP, load_photos

from .conftest import SIZE, BrightnessJudge, make_faces, tiny_zoo

LABELS = ("random", "AEF", "PGD", "max-min (ours)")
N = 4  # photographs of each set


def noise(width: int, height: int, seed: int) -> bytes:
    """A JPEG of random blocks, so that generators edit something."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives in small: 41 people of CelebA with two photographs each, five test ones of LFW.

    The last twenty of CelebA by identity number are those that no generator was trained on.
    """
    root = tmp_path_factory.mktemp("archives")
    names = [f"{i:06d}.jpg" for i in range(82)]
    with zipfile.ZipFile(root / SHARP, "w") as z:
        people = [f"{name} {9 + i % 41}" for i, name in enumerate(names)]  # 9 to 49: "9" > "10"
        z.writestr("celeba/identity_CelebA.txt", "\n".join(people))
        rows = [f"{name} " + " ".join(["1", "-1"][(i + k) % 2] for k in range(len(ATTRIBUTES)))
                for i, name in enumerate(names)]  # fmt: skip
        head = [str(len(names)), " ".join(ATTRIBUTES)]
        z.writestr("celeba/list_attr_celeba.txt", "\n".join(head + rows))
        for i, name in enumerate(names):
            z.writestr(f"celeba/img_align_celeba/{name}", noise(178, 218, i))
    ours = [who for who in (f"P{i}" for i in range(99)) if split_of(who) == "test"][:5]
    with zipfile.ZipFile(root / LFW, "w") as z:
        for i, who in enumerate(ours):
            for k in (1, 2, 3):
                z.writestr(f"lfw-deepfunneled/{who}/{who}_{k:04d}.jpg", noise(250, 250, 9 * i + k))
    return root


def small_zoo() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


@pytest.fixture(scope="module")
def judged(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Path]:
    folder, home = tmp_path_factory.mktemp("kept"), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEF_HOME", str(home))
        patch.setattr(judge_module, "load_classifier", BrightnessJudge)
        runs = kept.make(small_zoo(), make_faces(), 3, 2, labels=LABELS, folder=folder)
        assert p.write_judged(runs, small_zoo(), archives, N, folder) == folder / p.TABLE
    return runs, folder


def test_nobody_is_shown_twice_before_all_are_shown_once(archives: Path) -> None:
    held_out = {str(who) for who in range(30, 50)}
    faces, people = p.photographs("CelebA", archives, 20, SIZE)
    assert set(people) == held_out
    assert (faces.images.shape[-1], faces.source) == (SIZE, "celeba")
    assert set(p.photographs("CelebA", archives, 22, SIZE)[1]) == held_out
    assert len(faces) * 2 == len(load_photos(archives, "test", SIZE)), "the zoo's own judges"
    faces, people = p.photographs("LFW", archives, 7, SIZE)
    assert len(set(people[:5])) == 5
    assert [Path(name).parent.name for name in faces.names] == people
    with pytest.raises(ValueError, match="LFW has 15 photographs to judge on, 16 were asked for"):
        p.photographs("LFW", archives, 16, SIZE)


def test_every_run_is_in_the_table_with_its_own_numbers(judged, archives, monkeypatch) -> None:
    monkeypatch.setattr(judge_module, "load_classifier", BrightnessJudge)
    runs, folder = judged
    about, numbers = p.load_judged(folder)
    assert about["judged_on"] == "CelebA 4 photographs of 4 people, LFW 4 photographs of 4 people"
    each = numbers.dropna(subset="seed")
    each = each.set_index(["data", "measure", "method", "seed", "model"]).sort_index()
    assert len(each) == 2 * 2 * (7 * 2 + 2), "sets, measures; runs on both generators, references"
    faces, _ = p.photographs("LFW", archives, N, SIZE)
    straight = evaluate(small_zoo(), faces, runs["AEF", 1].delta)
    for measure, column in (("L2_mask", "l2_mask"), ("SR_mask", "interrupted")):
        found = each.loc[("LFW", measure, "AEF", 1)]
        level = nonempty_mean(straight, "model", column)
        assert found["value"].to_dict() == pytest.approx(level.to_dict(), rel=1e-3)
        assert (found["low"] <= found["value"]).all()
        assert (found["value"] <= found["high"]).all()
    own = evaluate({"HiSD": small_zoo()["HiSD"]}, faces, runs[f"{REFERENCE}: HiSD", 0].delta)
    reference = each.loc[("LFW", "L2_mask", REFERENCE, 0, "HiSD"), "value"]
    assert reference == pytest.approx(nonempty_mean(own, "model")["HiSD"], rel=1e-3)


def test_photographs_stand_beside_embedded_faces_unless_other_patterns_were_judged(
    judged, tmp_path: Path
) -> None:
    _, folder = judged
    numbers = p.load_judged(folder)[1]
    embedded = numbers[numbers["seed"].isna() & (numbers["data"] == "LFW")]
    table, words = p.beside(embedded, folder)
    assert list(table.columns.unique(0)) == ["embedded", "CelebA", "LFW"]
    assert set(table.index) == {REFERENCE, *LABELS}
    pd.testing.assert_frame_equal(table["embedded"], table["LFW"])
    assert words.count("LFW as embedded") == 2, words
    for name in (RECORDS, p.TABLE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    records = tmp_path / RECORDS
    records.write_text(records.read_text().replace(p.patterns(folder), "0" * 12))
    with pytest.raises(FileNotFoundError, match="of patterns kept before: judge these, `python"):
        p.load_judged(tmp_path)
    table, words = p.beside(embedded, tmp_path)
    assert list(table.columns) == ["worst", "mean", "worst share"]
    assert "kept --judge FOLDER" in words


def test_a_method_without_a_rank_is_marked_and_not_ordered() -> None:
    def row(method: str, measure: str, model: str, value: float, low: float = 0.1) -> dict:
        return {"method": method, "measure": measure, "model": model, "value": value, "low": low}

    rows = [row(m, "L2_mask", model, v) for m, v in (("AEF", 0.2), ("PGD", 0.3), ("TSDF", 0.1))
            for model in ("min", "mean")]  # fmt: skip
    rows += [row(m, "share", "min", 0.44) for m in ("AEF", "PGD", "TSDF")]
    rows += [row("PGD", p.OVER, "min", 0.0, -0.1), row("AEF", p.OVER, "min", 0.1)]
    numbers = pd.DataFrame(rows)
    table = p._worst_and_mean(numbers)
    assert table.loc["PGD"].tolist() == ["0.3000*", "0.3000", "44%"]
    sets = {p.EMBEDDED: numbers, "LFW": numbers}
    assert p._orders(sets, "min") == "best by worst generator: embedded AEF, TSDF; LFW as embedded"
    assert p._orders(sets, "mean") == "best by mean: embedded PGD, AEF, TSDF; LFW as embedded"


def test_the_shipped_table_covers_every_kept_run_and_no_photograph_is_shipped() -> None:
    _, numbers = p.load_judged()
    each = numbers.dropna(subset="seed")
    names = each["method"].where(each["method"] != REFERENCE, REFERENCE + ": " + each["model"])
    found = set(zip(each["data"], names, each["seed"].astype(int), strict=True))
    runs = pd.read_json(io.StringIO((KEPT / RECORDS).read_text()), typ="series")["runs"]
    expected = {(run["label"], run["config"]["loop"]["seed"]) for run in runs}
    assert found == {(data, *key) for data in p.SETS for key in expected}
    assert {f.suffix for f in KEPT.iterdir()} == {".gz", ".json", ".csv"}


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_the_archives_is_told_in_one_line(tmp_path: Path, made: bool) -> None:
    root = tmp_path / "nothing"
    if made:
        root.mkdir()
    told = CliRunner().invoke(app, ["kept", "--judge", str(root)])
    assert told.exit_code == 1
    assert SHARP in str(told.exception)
    assert len(str(told.exception).splitlines()) == 1
