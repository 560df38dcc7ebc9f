"""Metrics against reference numbers, hand-made cases, and themselves one by one."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from aef_core.faces import to_uint8
from aef_core.metrics import (
    Evaluator,
    balance,
    evaluate,
    l2_mask,
    per_model,
    protect,
    psnr,
    ssim,
)
from aef_core.metrics.statistics import bootstrap_means, interval
from companion.studies.differences import balance_draws
from companion.studies.equilibrium import equilibrium_residual

from .conftest import DATA, make_faces, tiny_zoo

CASES = json.loads((DATA / "fixtures.json").read_text())["metrics"]["cases"]


def arrays(seed: int, amp: float) -> tuple[torch.Tensor, ...]:
    r = np.random.RandomState(seed)
    x = np.tanh(r.standard_normal((4, 3, 48, 48))).astype(np.float32)
    where = 0.3 * r.standard_normal(x.shape) * (r.rand(4, 1, 48, 48) < 0.4)
    clean = np.clip(x + where, -1, 1).astype(np.float32)
    noise = amp * np.linspace(0.1, 1.2, 4)[:, None, None, None] * r.standard_normal(x.shape)
    adv = np.clip(clean + noise, -1, 1).astype(np.float32)
    return tuple(torch.from_numpy(a) for a in (x, clean, adv))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"seed{c['seed']}")
def test_l2_mask_and_psnr_equal_the_reference(case: dict) -> None:
    x, clean, adv = arrays(case["seed"], case["amp"])
    values = l2_mask(clean, adv, x)
    np.testing.assert_allclose(values, case["l2_mask"], rtol=1e-4)
    assert (values > 0.05).float().mean().item() == case["sr_mask_at_0_05"]
    np.testing.assert_allclose(psnr(clean, adv), case["psnr"], rtol=1e-4)


def test_l2_mask_by_hand_each_image_with_its_own_mask() -> None:
    x = torch.zeros(3, 3, 2, 2)
    forged = x.clone()
    forged[0, :, 0, 0] = 0.2  # sums to 0.6: edited
    forged[1, :, :, :] = 0.2  # edited everywhere
    forged[2, :, 0, 0] = 0.1  # sums to 0.3: nothing edited
    disturbed = forged + 0.3
    disturbed[0, :, 1, 1] += 5  # outside the mask: must not count
    values = l2_mask(forged, disturbed, x)
    assert values[:2].tolist() == pytest.approx([0.09, 0.09])
    assert values[2].isnan()


def test_psnr_and_ssim_by_hand() -> None:
    a = torch.zeros(1, 3, 16, 16)
    assert psnr(a, a + 0.1)[0] == pytest.approx(-10 * np.log10(0.05**2), abs=1e-4)
    assert ssim(a, a)[0] == 1
    # without contrast, only the means count: 0.5 and 0.6 of [0, 1], and C1 = 0.01 squared
    assert ssim(a, a + 0.2)[0] == pytest.approx((0.6 + 1e-4) / (0.25 + 0.36 + 1e-4), abs=1e-6)


def test_protected_images_are_what_an_8_bit_file_holds() -> None:
    x = torch.tensor([-1.0, -0.99, 0.2, 0.999]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    protected = protect(x, torch.full((1, 3, 2, 2), 0.05))
    assert protected.max() <= 1
    assert torch.equal(to_uint8(protected), to_uint8(x + 0.05))


def test_batched_equals_one_by_one() -> None:
    zoo, faces = tiny_zoo(), make_faces(5)
    delta = 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    whole = evaluate(zoo, faces, delta, batch=5)
    single = pd.concat([evaluate(zoo, faces[i : i + 1], delta) for i in range(5)])
    merged = whole.merge(single, on=["image", "model", "edit"], suffixes=("", "_one"))
    assert len(merged) == len(whole) == 5 * (5 + 5 + 13 + 5)
    for column in ("l2_mask", "psnr", "ssim"):
        np.testing.assert_allclose(merged[column], merged[f"{column}_one"], rtol=1e-3, atol=1e-6)


def test_sizes_that_do_not_fit_are_refused() -> None:
    zoo, faces = tiny_zoo(), make_faces(2)
    size = faces.images.shape[-1]
    with pytest.raises(ValueError, match=rf"8 x 8 pixels.*StarGAN.*size={size}\)"):
        Evaluator(zoo, make_faces(2, size=8))
    with pytest.raises(ValueError, match=r"images of 16 x 16 pixels"):
        evaluate(zoo, faces, torch.zeros(1, 3, 16, 16))


def test_zero_perturbation_interrupts_nothing_and_empty_masks_are_counted() -> None:
    zoo, faces = tiny_zoo(), make_faces(4)
    rounded = faces.images.clone()
    faces = type(faces)(protect(rounded, torch.zeros(1)), faces.attributes, faces.names)
    table = Evaluator(zoo, faces)(torch.zeros(1, 3, 32, 32))
    assert table["l2_mask"].max() == pytest.approx(0, abs=1e-9)
    assert not table["interrupted"].any()
    summary = per_model(table)
    assert (summary["pairs"] + summary["excluded"]).tolist() == [20, 20, 52, 20]
    assert (summary["edit survival"].dropna() == 1).all(), "and undoes nothing"
    assert summary["edit survival"].notna().any()


def test_balance_by_hand() -> None:
    numbers = balance([0.1, 0.2, 0.3])
    assert numbers == pytest.approx(
        {"min": 0.1, "mean": 0.2, "spread": 0.2, "cv": np.sqrt(2 / 3) * 0.1 / 0.2}
    )


def test_residual_is_zero_exactly_where_the_worst_has_all_weight() -> None:
    history = pd.DataFrame(
        {
            "step": [0, 0, 1, 1],
            "strength": [0.1, 0.3, 0.1, 0.3],
            "weight": [1.0, 0.0, 0.5, 0.5],
        }
    )
    assert equilibrium_residual(history).tolist() == pytest.approx([0.0, 0.1])


def test_bootstrap_covers_and_resamples_images() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=50), 4)
    table = pd.DataFrame(
        {"image": np.repeat(np.arange(50).astype(str), 4), "model": "m", "l2_mask": values}
    ).assign(excluded=False)
    draws = bootstrap_means(table, ["model"])
    row = interval(draws).loc["m"]
    assert row["value"] == pytest.approx(values.mean())
    assert row["low"] < row["value"] < row["high"]
    # four identical rows an image carry no extra information: width as for 50 numbers
    expected = 2 * 1.96 * values[::4].std(ddof=1) / np.sqrt(50)
    assert row["high"] - row["low"] == pytest.approx(expected, rel=0.2)


def test_bootstrap_pairs_methods_on_images() -> None:
    """Two methods that differ by a constant differ by it in every draw."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"image": [f"i{k}" for k in range(20)], "model": "m", "l2_mask": rng.normal(size=20)}
    ).assign(excluded=False)
    both = pd.concat(
        [table.assign(method="a"), table.assign(method="b", l2_mask=table["l2_mask"] + 0.3)]
    )
    draws = bootstrap_means(both, ["method", "model"])
    np.testing.assert_allclose(draws["b"]["m"] - draws["a"]["m"], 0.3)


def test_balance_is_a_seeds_own_before_seeds_are_averaged() -> None:
    """Two seeds, each led by another generator: every seed's spread is 0.2, their means' is 0."""
    levels = {0: {"a": 0.1, "b": 0.3}, 1: {"a": 0.3, "b": 0.1}}
    rows = [
        {"method": "m", "seed": seed, "model": model, "image": i, "l2_mask": v, "excluded": False}
        for seed, values in levels.items()
        for model, v in values.items()
        for i in range(4)
    ]
    draws = balance_draws(pd.DataFrame(rows), "m")
    assert draws["spread"].to_numpy() == pytest.approx(0.2)
    assert draws["min"].to_numpy() == pytest.approx(0.1)


def test_seeds_that_disagree_leave_a_difference_unclear() -> None:
    levels = {("m", 0): 0.1, ("m", 1): 0.3, ("n", 0): 0.2, ("n", 1): 0.2}
    rows = [
        {"method": m, "seed": s, "model": k, "image": i, "l2_mask": v, "excluded": False}
        for (m, s), v in levels.items()
        for k in ("a", "b")
        for i in range(4)
    ]
    table = pd.DataFrame(rows)
    row = interval(balance_draws(table, "m") - balance_draws(table, "n")).loc["min"]
    # two seeds: Student's t with one degree of freedom, times 0.1
    assert row["low"] == pytest.approx(-1.2706, rel=1e-3)
    assert row["high"] == pytest.approx(1.2706, rel=1e-3)
