"""What a specialist reaches, and that the max-min rule can be fed with it."""

import dataclasses

import pytest
import torch

from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.shelf import list_runs
from aef_core.runs import optimize
from companion.studies.ceilings import ceilings_of

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=6, step_size=0.01, batch=3)
TWO = {name: tiny_zoo()[name] for name in ("StarGAN", "HiSD")}


def test_a_ceiling_is_the_last_pass_of_a_run_on_one_generator() -> None:
    faces = make_faces()
    ceilings = ceilings_of(TWO, faces, CONFIG, progress=False)
    assert len(list_runs()) == 2
    run = optimize({"HiSD": TWO["HiSD"]}, faces, "uniform", CONFIG, progress=False)
    assert len(list_runs()) == 2, "the run was found, not made again"
    assert ceilings[1] == pytest.approx(run.history["output_mse"].iloc[-2:].mean())
    strengths = ceilings_of(TWO, faces, CONFIG, "strength", progress=False)
    assert strengths[1] == pytest.approx(run.history["strength"].iloc[-2:].mean())


def test_max_min_runs_on_its_ceilings_and_is_found_again() -> None:
    """A tuple of ceilings survives the config of a stored run and its hash."""
    faces = make_faces()
    ceilings = ceilings_of(TWO, faces, CONFIG, keep=False, progress=False)
    first = optimize(TWO, faces, "max-min", CONFIG, progress=False, ceilings=ceilings)
    again = optimize(TWO, faces, "max-min", CONFIG, progress=False, ceilings=list(ceilings))
    assert first.path == again.path
    assert torch.equal(first.delta, again.delta)
    assert len(list_runs()) == 1


def test_what_cannot_be_interrupted_or_balanced_is_named() -> None:
    with pytest.raises(ValueError, match="balance must be one of output, strength, got 'psnr'"):
        ceilings_of(TWO, make_faces(), CONFIG, "psnr")
    dead = tiny_zoo()["StarGAN"]
    with torch.no_grad():
        for parameter in dead.parameters():
            parameter.zero_()
    config = dataclasses.replace(CONFIG, steps=1)
    with pytest.raises(ValueError, match=r"StarGAN cannot be interrupted at eps 0\.05"):
        ceilings_of({"StarGAN": dead}, make_faces(), config, progress=False)
