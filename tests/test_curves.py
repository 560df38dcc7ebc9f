"""Fragility along training: the stored table, two arms at equal images, the figure."""

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from companion import plots
from companion.plots.style import MODEL_COLOURS
from companion.studies.curves import WITH, WITHOUT, arms_compared, load_curves


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


def test_the_figure_has_a_line_a_generator_and_arm() -> None:
    stored = load_curves()
    (ax,) = plots.curves.fragility(stored).axes
    lines = stored.groupby(["model", "arm"]).ngroups
    assert len(ax.get_legend().get_texts()) == lines
    assert len(ax.lines) == lines + 1  # the threshold
    plt.close("all")
