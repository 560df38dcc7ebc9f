"""The gradient lenses have hand-computed values; radii and orders are exact."""

import numpy as np
import pandas as pd
import pytest
import torch

from aef_core.models import DeepfakeModel
from aef_core.perturbation import PerturbationConfig, initial_state
from aef_core.perturbation.objective import clean_references, interruption
from companion.studies.resistance import (
    alignment,
    gradient_table,
    gsnr,
    pair_orders,
    pixel_gradients,
    saturation,
    sign_agreement,
)
from companion.studies.visibility import critical_radius, evenness

from .conftest import make_faces


def test_gsnr_by_hand() -> None:
    # constant; mean 2, variance 1; mean 0; no gradient at all
    g = torch.tensor([[3.0, 1.0, 1.0, 0.0], [3.0, 3.0, -1.0, 0.0]])
    assert gsnr(g).tolist() == [float("inf"), 4.0, 0.0, 0.0]
    torch.testing.assert_close(gsnr(10 * g), gsnr(g))
    with pytest.raises(ValueError, match="at least 2 gradients, got 1"):
        gsnr(g[:1])


def test_gsnr_of_noise_is_one_over_n() -> None:
    noise = torch.randn(50, 4000, generator=torch.Generator().manual_seed(0))
    assert gsnr(noise).mean().item() == pytest.approx(1 / 50, rel=0.1)


def test_sign_agreement_by_hand() -> None:
    # the mean's signs are + - + and, at the last pixel, none
    g = torch.tensor([[1.0, -1.0, -1.0, 0.0], [1.0, -1.0, 3.0, 0.0]])
    assert sign_agreement(g, batch=1) == pytest.approx((2 / 3 + 1) / 2)
    assert sign_agreement(g, batch=2) == 1
    assert np.isnan(sign_agreement(torch.zeros(2, 3)))


def test_saturation_counts_values_at_the_bound() -> None:
    assert saturation(torch.tensor([0.05, -0.05, 0.04, 0.0]), 0.05) == 0.5


def test_gradients_of_single_faces_average_to_the_loops_gradient(
    zoo: dict[str, DeepfakeModel],
) -> None:
    faces, config = make_faces(6), PerturbationConfig(batch=4)
    gradients = pixel_gradients(zoo, faces, config)
    references = clean_references(zoo, faces, config.seed, config.batch)
    delta = initial_state(faces.images, config).delta.requires_grad_()
    for name, model in zoo.items():
        x = (faces.images + delta).clamp(-1, 1)
        value = interruption(model, x, references[name], torch.arange(6), config.feature_weight)[0]
        (whole,) = torch.autograd.grad(value, delta)
        assert gradients[name].shape == (6, 3 * 32 * 32)
        mean = gradients[name].mean(dim=0)
        torch.testing.assert_close(mean, whole.flatten(), atol=1e-6 * whole.abs().max(), rtol=1e-3)
    table = gradient_table(gradients, batch=3)
    assert list(table.index) == list(zoo)
    assert table["share left"].between(0, 1).all()
    assert table["sign agreement"].between(0.5, 1).all()


def test_alignment_leaves_the_diagonal_out() -> None:
    cosines = np.array([[[1.0, 0.2, 0.4], [0.2, 1.0, 0.0], [0.4, 0.0, 1.0]]] * 2)
    assert alignment(cosines, ["A", "B", "C"]).tolist() == pytest.approx([0.3, 0.1, 0.2])


def test_pairs_of_generators_are_counted_by_their_order() -> None:
    models, inf = ["A", "B", "C", "D"], float("inf")
    predictors = pd.DataFrame(
        {"flat": [1, 1, 1, 1], "up": [1, 2, 3, 4], "down": [4, 3, 2, 1], "mixed": [2, 1, 4, 3],
         "swapped": [1, 3, 2, 4], "tied": [1, inf, inf, inf]},
        index=models,
    )  # fmt: skip
    table = pair_orders(predictors, pd.Series([0.4, 0.3, 0.2, 0.1], index=models[::-1]))
    same, opposite = (table[c].to_dict() for c in ("same", "opposite"))
    assert same == {"up": 6, "down": 0, "swapped": 5, "mixed": 4, "tied": 3, "flat": 0}
    assert opposite == {"up": 0, "down": 6, "swapped": 1, "mixed": 2, "tied": 0, "flat": 0}
    assert (table["pairs"] == 6).all()
    assert list(table.index) == ["up", "down", "swapped", "mixed", "tied", "flat"]


def test_critical_radius_interpolates_and_says_when_it_is_out_of_reach() -> None:
    eps = [0.01, 0.02, 0.04]
    levels = {"square": [e**2 for e in eps], "weak": [1e-6] * 3, "strong": [1.0] * 3}
    sweep = pd.DataFrame(
        [
            {"eps": e, "model": m, "l2_mask": v}
            for m, values in levels.items()
            for e, v in zip(eps, values, strict=True)
        ]
    )
    radius = critical_radius(sweep, level=0.03**2)
    assert radius["square"] == pytest.approx(0.03)
    assert radius["weak"] == float("inf")
    assert radius["strong"] == pytest.approx(0.01)
    assert evenness(sweep, "eps").loc[0.01, "worst / best"] == pytest.approx(1e-6)
