"""Figures of the paper: drawn from what they are given, kept with numbers that do not wander."""

import json

import matplotlib.pyplot as plt
import pandas as pd

from aef_core.style import save_figure


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


def test_another_setting_is_another_hash() -> None:
    hashes = []
    for config in ({"seed": 0, "eps": 0.05}, {"eps": 0.05, "seed": 0}, {"seed": 1, "eps": 0.05}):
        path = save_figure(plt.figure(), "hash", [], **config)
        hashes.append(json.loads(path.with_suffix(".json").read_text())["config_hash"])
    assert hashes[0] == hashes[1] != hashes[2]
