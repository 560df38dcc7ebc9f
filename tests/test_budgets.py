"""Budgets are respected in the loop, and are what they are called."""

import math

import pytest
import torch

from aef_core.methods import make_method
from aef_core.metrics import protect, ssim
from aef_core.perturbation import PerturbationConfig, perturb
from aef_core.perturbation.budgets import BOX, Budget
from aef_core.perturbation.objective import Problem
from aef_core.perturbation.store import run_hash
from aef_core.runs import optimize, run_identity
from aef_core.weighting import make_rule
from companion.studies import budgets as B

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=4, step_size=0.02, batch=4)


def optimised(budget: Budget) -> tuple[torch.Tensor, torch.Tensor]:
    """The perturbation of a short run under a budget, and what its faces receive of it."""
    zoo, faces = {"HiSD": tiny_zoo()["HiSD"]}, make_faces()
    *_, state = perturb(Problem(zoo, faces, budget), make_rule("uniform"), CONFIG)
    return state.delta, budget.added(faces.images, state.delta)


@pytest.mark.parametrize("name", B.BUDGETS)
def test_every_budget_bounds_delta_and_changes_what_is_added(name: str) -> None:
    budget = B.make_budget(name)
    delta, added = optimised(budget)
    assert delta.abs().max() <= CONFIG.eps * (1 + 1e-6)
    assert delta.abs().max() > 0.1 * CONFIG.eps
    torch.testing.assert_close(budget.project(delta, CONFIG.eps), delta)
    assert budget.identity()["name"] == name
    assert added.shape[1:] == (3, 32, 32)


def test_the_box_is_the_loop_as_it_was() -> None:
    noisy = torch.linspace(-1, 1, 12).view(1, 3, 2, 2)
    assert torch.equal(BOX.project(noisy, 0.05), noisy.clamp(-0.05, 0.05))
    assert BOX.added(torch.zeros(4, 3, 2, 2), noisy) is noisy
    assert Problem({"HiSD": None}, make_faces()).identity() == {}, (
        "runs of the plain box must keep their hash"
    )


def test_chroma_has_no_luma_at_any_pixel() -> None:
    delta, _ = optimised(B.Chroma())
    assert B.luma(delta).abs().max() < 1e-7
    grey = torch.full((1, 3, 4, 4), 0.03)
    assert B.Chroma().project(grey, 0.05).abs().max() < 1e-7
    # a colour keeps its hue: Cb and Cr shrink together
    red = torch.tensor([0.2, -0.1, 0.0]).view(1, 3, 1, 1)
    free, bounded = (B.Chroma().project(red, eps).flatten() for eps in (1.0, 0.05))
    torch.testing.assert_close(bounded / bounded.abs().max(), free / free.abs().max())


@pytest.mark.parametrize("budget", [B.Luminance(), B.Texture()])
def test_masks_have_unit_rms_and_so_the_boxs_psnr(budget: B.Luminance) -> None:
    images = make_faces().images
    weight = budget.weight(images)
    assert weight.shape == (6, 1, 32, 32)
    assert (weight > 0).all()
    rms = weight.square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(rms, torch.ones(6))
    saturated = torch.full((1, 3, 32, 32), 0.05)
    mse = budget.added(images, saturated).square().mean().item()
    assert 10 * math.log10(4 / mse) == pytest.approx(32.04, abs=0.01)


def test_masks_follow_what_they_are_named_after() -> None:
    half = torch.full((1, 3, 16, 16), 0.0)
    half[..., :8] = -0.98  # nearly black: the eye sees less there than in mid grey
    weight = B.Luminance().weight(half)
    assert weight[0, 0, 8, 2] > 2 * weight[0, 0, 8, 13]
    rough = torch.zeros(1, 3, 16, 16)
    rough[..., ::2, :8] = 0.5
    weight = B.Texture().weight(rough)
    assert weight[0, 0, 8, 3] > 3 * weight[0, 0, 8, 13]
    flat = B.Texture().weight(torch.zeros(1, 3, 16, 16))
    torch.testing.assert_close(flat, torch.ones_like(flat))


def test_target_psnr_is_kept() -> None:
    delta, _ = optimised(B.TargetPSNR(40.0))
    assert 10 * math.log10(4 / delta.square().mean().item()) >= 40 - 1e-4
    small = torch.full((1, 3, 4, 4), 1e-3)
    assert torch.equal(B.TargetPSNR(40.0).project(small, 0.05), small)
    with pytest.raises(ValueError, match=r"psnr is out of range: -1"):
        B.TargetPSNR(-1)


def test_faded_reaches_the_target_and_no_more() -> None:
    images, delta = make_faces(3).images, torch.full((1, 3, 32, 32), 0.0)
    delta[..., ::2] = 0.3
    faint = B.faded(images, delta, 0.9)
    assert ssim(images, protect(images, faint)).mean() >= 0.9
    assert ssim(images, protect(images, faint * 1.05)).mean() < 0.9
    assert torch.equal(B.faded(images, 0.01 * delta, 0.5), 0.01 * delta)
    with pytest.raises(ValueError, match="unknown measure 'lpips'"):
        B.faded(images, delta, 0.9, "lpips")
    with pytest.raises(ValueError, match=r"SSIM 1\.2"):
        B.faded(images, delta, 1.2)


def test_a_budget_is_part_of_a_runs_identity() -> None:
    zoo, faces = {"HiSD": tiny_zoo()["HiSD"]}, make_faces()
    run = optimize(zoo, faces, "uniform", CONFIG, budget=B.Chroma(), progress=False)
    assert run.config["budget"] == {"name": "chroma"}
    assert run.path.name != run_hash(
        run_identity(Problem(zoo, faces), make_method("uniform"), CONFIG)
    )
    with pytest.raises(ValueError, match="unknown budget 'fog'; known: box, luminance"):
        B.make_budget("fog")
