"""Every rule keeps the contract, whatever it is shown."""

import pytest
import torch

from aef_core.weighting import RULES, Feedback, make_rule

FROM_GRADIENTS = ("mgda", "pcgrad", "cagrad", "upgrad")


def feedback(strength: list[float], norms: list[float], seed: int = 0) -> Feedback:
    """Random gradients of given sizes, so that mean sizes and inner products belong together."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(norms), 12, generator=generator, dtype=torch.float64)
    rows = rows * torch.tensor(norms, dtype=torch.float64)[:, None]
    s = torch.tensor(strength, dtype=torch.float64)
    return Feedback(s, rows.abs().mean(dim=1), rows @ rows.T, s / 2)


USUAL = feedback([0.03, 0.0103, 0.002, 0.05], [2.7e-5, 2.8e-5, 4.6e-6, 1.7e-5])
EXTREMES = {
    "usual": USUAL,
    "zero": feedback([0.0] * 4, [0.0] * 4),
    "no gradient": feedback([0.1, 0.2, 0.3, 0.4], [0.0] * 4),
    "one cannot be moved": feedback([0.0, 0.2, 0.3, 0.4], [0.0, 1e-5, 1e-5, 1e-5]),
    "scales apart": feedback([1e-12, 1e3, 0.0, 1.0], [1e-12, 1e3, 0.0, 1.0]),
    "all tiny": feedback([1e-12] * 4, [1e-12, 2e-12, 3e-12, 1e-12]),
    "all huge": feedback([1e3, 2e3, 1e3, 5e2], [1e3] * 4),
    "one generator": feedback([0.5], [1e-9]),
    "two generators": feedback([0.5, 0.01], [1e-9, 1e-4]),
}


def permuted(seen: Feedback, order: torch.Tensor) -> Feedback:
    gramian = seen.gramian[order][:, order]
    return Feedback(seen.strength[order], seen.grad_l1[order], gramian, seen.output_mse[order])


def scaled(seen: Feedback, strength: float = 1.0, gradient: float = 1.0) -> Feedback:
    return Feedback(
        seen.strength * strength,
        seen.grad_l1 * gradient,
        seen.gramian * gradient**2,
        seen.output_mse * strength,
    )


@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("name", RULES)
def test_weights_lie_on_the_simplex_at_any_scale(name: str, case: str) -> None:
    rule, seen = make_rule(name), EXTREMES[case]
    for _ in range(3):
        weights = rule(seen)
        assert weights.shape == seen.strength.shape
        assert weights.dtype == torch.float64
        assert weights.isfinite().all()
        assert (weights >= 0).all()
        assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", RULES)
def test_one_generator_has_all_the_weight(name: str) -> None:
    assert make_rule(name)(EXTREMES["one generator"]).tolist() == pytest.approx([1])


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("dwt-threshold", "pcgrad")])
def test_order_of_the_zoo_does_not_matter(name: str) -> None:
    """Of two rules it does: one serves the first in the list, one shuffles by place."""
    order = torch.tensor([2, 0, 3, 1])
    straight, shuffled = make_rule(name), make_rule(name)
    for seed in range(3):
        seen = feedback([0.03, 0.0103, 0.002, 0.05], [2.7e-5, 2.8e-5, 4.6e-6, 1.7e-5], seed)
        expected = straight(seen)[order]
        torch.testing.assert_close(shuffled(permuted(seen, order)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ("uniform", "grad-norm", *FROM_GRADIENTS, "max-min", "ohem"))
def test_units_do_not_matter(name: str) -> None:
    """Neither those of the strength nor those of the gradients, down to pixel size."""
    expected = make_rule(name)(USUAL)
    for strength, gradient in ((1e-3, 1.0), (1.0, 1e-6), (10.0, 1e4)):
        ours = make_rule(name)(scaled(USUAL, strength, gradient))
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ("grad-norm", *FROM_GRADIENTS, "max-min"))
def test_a_generator_that_cannot_be_moved_gets_no_weight(name: str) -> None:
    assert make_rule(name)(EXTREMES["one cannot be moved"])[0] == 0


@pytest.mark.parametrize("name", ("aef", "focal", "ohem", "stch", "kpi-focal", "apgda", "exp-grad"))
def test_the_least_interrupted_generator_counts_most(name: str) -> None:
    rule = make_rule(name)
    rule(USUAL)
    weights = rule(USUAL)  # twice: AEF's weights follow what it saw before
    assert weights.argmax() == USUAL.strength.argmin()
    assert weights[USUAL.strength.argmax()] == weights.min()


@pytest.mark.parametrize("name", RULES)
def test_state_can_be_kept_restored_and_forgotten(name: str) -> None:
    """Over more steps than the longest period of a rule, to the same bits."""
    steps = [
        feedback([0.03 + 0.001 * t, 0.01, 0.002, 0.05 - 0.002 * t], [1e-5, 2e-5, 3e-6, 1e-5], t)
        for t in range(20)
    ]
    rule = make_rule(name)
    straight = [rule(seen) for seen in steps]
    for stop in (1, 4, 9, 17):
        first, second = make_rule(name), make_rule(name)
        for seen in steps[:stop]:
            first(seen)
        second.state = dict(first.state)
        assert all(isinstance(v, torch.Tensor) for v in first.state.values())
        for t in range(stop, 20):
            assert torch.equal(second(steps[t]), straight[t])
    rule.state = {}
    assert torch.equal(rule(steps[0]), straight[0])


@pytest.mark.parametrize("name", RULES)
def test_rules_leave_the_global_generator_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    make_rule(name)(USUAL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_rule_says_where_it_comes_from() -> None:
    assert [name for name, rule in RULES.items() if rule.name != name] == []
    texts = {name: rule.__doc__ for name, rule in RULES.items()}
    assert [name for name, text in texts.items() if "Formula:" not in text] == []
    sourceless = [n for n, text in texts.items() if "Source" not in text and "arXiv" not in text]
    assert sourceless == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adam", {}, "unknown weighting rule 'adam'; known: uniform"),
        ("aef", {"tua": 1.0}, "no setting 'tua'; it has: tau, beta"),
        ("aef", {"tau": 0.0}, "tau must be positive"),
        ("aef", {"tau": "high"}, "tau must be a number, got 'high'"),
        ("aef", {"beta": 1.0}, r"beta must be in \[0, 1\)"),
        ("uniform", {"tau": 0.1}, "it has: none"),
        ("focal", {"target": 0.0}, "target must be positive"),
        ("ohem", {"keep": 0}, "keep must be 1 or more"),
        ("stch", {"mu": -1.0}, "mu must be positive"),
        ("stch", {"ideal": (0.1, -0.1)}, "ideal must be positive numbers"),
        ("kpi-focal", {"prior": (1.0, float("nan"))}, "prior must be positive numbers"),
        ("dwa", {"epoch": 0}, "epoch must be 1 or more"),
        ("apgda", {"gamma": 2.0}, "or w overshoots"),
        ("exp-grad", {"rate": 0.0}, "rate must be positive"),
        ("dwt-threshold", {"every": 0}, "every must be 1 or more"),
        ("mgda", {"rows": "l3"}, "rows must be one of raw, l1, l2, got 'l3'"),
        ("cagrad", {"c": 1.0}, r"c must be in \[0, 1\)"),
        ("max-min", {"single_model": (0.1, 0.0)}, "single_model must be positive numbers"),
        ("max-min", {"balance": "ssim"}, "balance must be one of output, strength"),
        ("max-min", {"rate": -1.0}, r"rate must be 0 or more, got -1\.0"),
        ("max-min", {"share": 0.0}, r"share must be in \(0, 1\)"),
    ],
)
def test_bad_rules_are_refused_by_name(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_rule(name, **settings)


def test_what_a_rule_needs_and_misses_is_named() -> None:
    with pytest.raises(ValueError, match=r"needs Feedback\.gramian"):
        make_rule("mgda")(Feedback(USUAL.strength, USUAL.grad_l1))
    with pytest.raises(ValueError, match="single_model has 2 entries for 4 generators"):
        make_rule("max-min", single_model=(0.1, 0.2))(USUAL)
