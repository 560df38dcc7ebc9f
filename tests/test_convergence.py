"""The curves of kept runs: what a row says about one pattern and every generator, nothing else."""

from pathlib import Path

import pytest

from aef_core.perturbation import PerturbationConfig
from aef_core.runs import optimize
from companion import kept

from .conftest import make_faces, tiny_zoo


def small_zoo() -> dict:
    return {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


def test_steps_on_resized_photos_are_no_part_of_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tmp_path))
    zoo, faces = small_zoo(), make_faces()
    config = PerturbationConfig(steps=40, step_size=2e-4, batch=3, seed=1)
    run = optimize(zoo, faces, "found", config, progress=False)  # 10 of its dearer steps
    loss = run.history.groupby("step")["output_mse"].mean()
    drawn = [step for step in loss.index if kept.convergence.resized(run.config["loop"], step)]
    assert 0 < len(drawn) < 10
    assert loss[drawn].min() > loss.drop(drawn).max(), "a resize outdoes the pattern"
    line = kept.curves({("FOUND", 1): run})
    assert line["step"].tolist() == [step for step in range(10) if step not in drawn]
    assert line["mean"].max() < loss[drawn].min()


def test_a_method_without_one_pattern_or_without_its_own_steps_has_no_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEF_HOME", str(tmp_path))
    zoo, faces, runs = small_zoo(), make_faces(), {}
    config = PerturbationConfig(steps=8, step_size=1e-2, batch=3)
    for method, settings in (("cmua", {"inner": 1}), ("pgd", {}), ("tsdf", {"poison_steps": 1})):
        runs[method, 0] = optimize(zoo, faces, method, config, progress=False, **settings)
    assert "MTCNN" in set(runs["tsdf", 0].history["model"])
    lines = kept.curves(runs)
    assert set(lines["label"]) <= {"pgd", "tsdf"}
    poison = runs["tsdf", 0].history.query("model == 'MTCNN'")["step"].min()
    assert (lines[lines["label"] == "tsdf"]["step"] < poison).all()
    assert lines[lines["label"] == "pgd"]["step"].tolist() == list(range(8))
