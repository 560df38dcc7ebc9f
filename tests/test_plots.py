"""The library's figures: drawn from a run and its evaluation, for any generators."""

import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import aef_core as aef
from aef_core.metrics.statistics import intervals

from .conftest import make_faces, tiny_zoo

CONFIG = aef.PerturbationConfig(steps=3, step_size=0.02, batch=4)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_the_package_is_light_until_a_figure_is_drawn() -> None:
    heavy = "matplotlib", "seaborn", "dask", "typer", "facenet_pytorch"
    code = f"import sys, aef_core; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_front_door_ends_in_figures() -> None:
    zoo, faces = tiny_zoo(), make_faces(3, seed=1)
    run = aef.optimize(zoo, make_faces(), "aef", CONFIG, progress=False)
    left, right = aef.plots.weight_dynamics(run.history).axes
    drawn = {line.get_label(): line.get_ydata() for line in right.lines}
    for name, part in run.history.groupby("model"):
        assert list(drawn[name]) == list(part["weight"])
    assert left.get_ylabel() == "interruption strength S"

    table = aef.evaluate(zoo, faces, run.delta)
    bars = aef.plots.balance_bars(table).axes[0].patches
    means = aef.per_model(table)["l2_mask"]
    assert [bar.get_height() for bar in bars] == pytest.approx(list(means))


def test_generators_of_ones_own_have_colours_of_their_own() -> None:
    table = pd.DataFrame(
        [{"method": "m", "model": k, "value": 0.1, "low": 0.0, "high": 0.2} for k in "ABC"]
    )
    bars = aef.plots.balance_bars(table).axes[0].patches
    assert len({bar.get_facecolor() for bar in bars}) == 3


def test_a_table_of_several_methods_has_a_bar_for_each() -> None:
    zoo, faces = {"HiSD": tiny_zoo()["HiSD"]}, make_faces(3, seed=1)
    noise = 0.05 * make_faces(1, seed=2).images
    table = pd.concat(
        [aef.evaluate(zoo, faces, s * noise).assign(method=m) for m, s in (("a", 0), ("b", 1))]
    )
    ax = aef.plots.balance_bars(table).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    assert [b.get_height() for b in ax.patches] == pytest.approx(list(intervals(table)["value"]))
