"""Fragility along training: the trainer's logs, the stored table, two arms, the figure."""

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from aef_core.errors import BadInput
from companion import plots
from companion.plots.style import MODEL_COLOURS
from companion.studies.curves import (
    SHIPPED,
    WITH,
    WITHOUT,
    arms_compared,
    finding,
    forest,
    load_curves,
)
from companion.zoo.curves import main, read_log
from companion.zoo.recipes import RECIPES


def curves(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["model", "arm", "images", "L2_mask"])


def test_the_stored_table_is_in_order_and_in_range() -> None:
    stored = load_curves()
    assert set(stored["model"]) <= set(MODEL_COLOURS)
    assert set(stored["arm"]) <= {WITH, WITHOUT}
    assert (stored["images"] >= 0).all()
    assert stored.groupby(["model", "arm"])["images"].is_monotonic_increasing.all()
    assert stored["L2_mask"].between(0, 4).all()
    assert stored["success"].dropna().between(0, 1).all()
    assert set(stored.columns) >= {"L2_mask_raw", "copies_db"}


def test_arms_are_compared_after_as_many_images() -> None:
    table = arms_compared(
        curves(
            ("StarGAN", WITH, 0, 0.3), ("StarGAN", WITH, 110, 0.02), ("StarGAN", WITH, 900, 0.01),
            ("StarGAN", WITHOUT, 0, 0.3), ("StarGAN", WITHOUT, 100, 0.2),
            ("HiSD", WITH, 100, 0.1),
        )
    )  # fmt: skip
    assert list(table.index) == ["StarGAN"]
    assert table.loc["StarGAN", [WITH, WITHOUT, "ratio"]].tolist() == pytest.approx(
        [0.02, 0.2, 0.1]
    )
    assert table.loc["StarGAN", f"images, {WITH}"] == 110
    assert arms_compared(curves(("HiSD", WITH, 100, 0.1))).empty


def judged() -> pd.DataFrame:
    levels = {"single-model": {"StarGAN": 0.2, "HiSD": 0.02}, "random": {"StarGAN": 0.01,
              "HiSD": 0.001}}  # fmt: skip
    return pd.DataFrame(
        [{"method": m, "seed": 0, "image": i, "model": k, "l2_mask": v * (1 + i / 10),
          "excluded": False} for m, of in levels.items() for k, v in of.items() for i in (0, 1, 2)]
    )  # fmt: skip


def test_the_forest_has_a_row_a_generator_and_a_row_a_training() -> None:
    stored = curves(("StarGAN", WITH, 100, 0.02), ("StarGAN", WITHOUT, 100, 0.2))
    rows = forest(judged(), stored)
    shipped = rows[rows["kind"] == SHIPPED]
    assert list(shipped["model"]) == ["StarGAN", "HiSD"], "the most fragile first"
    assert (shipped["low"] < shipped["L2_mask"]).all()
    assert (shipped["L2_mask"] < shipped["high"]).all()
    assert finding(rows) == (
        "StarGAN is 10 times as fragile as HiSD; the identity term multiplies StarGAN's by 0.1"
    )
    (ax,) = plots.curves.forest(rows).axes
    named = [text.get_text() for text in ax.get_yticklabels()]
    assert named == ["StarGAN", "HiSD", f"StarGAN, {WITH}", f"StarGAN, {WITHOUT}"]
    assert ax.get_xscale() == "log"
    alone = forest(judged(), stored.iloc[:0])
    assert finding(alone) == "StarGAN is 10 times as fragile as HiSD"
    assert len(plots.curves.forest(alone).axes[0].get_yticklabels()) == 2
    plt.close("all")


def checkpoint(model: str, at: int, fragility: float) -> str:
    line = {"model": model, "at": at, "success": {"Bangs": 0.9}, "mean": 0.9, "copies_db": 21.5}
    return json.dumps(line | {"L2_mask": fragility, "SR_mask": 0.1})


def test_the_table_is_read_from_what_the_trainer_prints(tmp_path: Path) -> None:
    log, other = tmp_path / "a.log", tmp_path / "b.log"
    log.write_text(
        "bfloat16 True: 2.0 s a step\ncopies: 100%|####|\r" + checkpoint("AttGAN", 500, 0.02)
        + "\n" + checkpoint("AttGAN", 100, 0.01) + "\n" + checkpoint("AttGAN", 500, 0.03) + "\n"
    )  # fmt: skip
    other.write_text(checkpoint("StarGAN", 40, 0.2))
    main([log], without=[other], out=tmp_path / "curves.csv")
    table = load_curves(tmp_path / "curves.csv")
    assert list(table.columns) == list(load_curves().columns)
    assert table["model"].tolist() == ["AttGAN", "AttGAN", "StarGAN"]
    assert table["arm"].tolist() == [WITH, WITH, WITHOUT]
    batch = RECIPES["AttGAN"].batch
    assert table["images"].tolist() == [100 * batch, 500 * batch, 40 * RECIPES["StarGAN"].batch]
    assert table["L2_mask"].tolist() == [0.01, 0.03, 0.2], "a resumed training repeats a checkpoint"
    assert table[["copies_db", "success"]].drop_duplicates().values.tolist() == [[21.5, 0.9]]
    assert read_log(other)[0]["arm"] == WITH, "by its recipe"
    assert read_log(other, batch=3)[0]["images"] == 120


def test_a_log_without_checkpoints_or_with_a_torn_line_is_named(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("bfloat16 True\n")
    with pytest.raises(BadInput, match=r"a\.log has no checkpoint"):
        read_log(log)
    log.write_text(checkpoint("AttGAN", 1, 0.1)[:30])
    with pytest.raises(BadInput, match=r"a\.log: a torn line"):
        read_log(log)
