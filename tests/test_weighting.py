"""Every rule keeps the contract; each rule gives its known numbers."""

import json

import pytest
import torch

from aef_core.weighting import RULES, Feedback, make_rule

from .conftest import DATA


def feedback(strength: list[float], grad_l1: list[float] | None = None) -> Feedback:
    grad = torch.tensor(grad_l1 or [1.0] * len(strength), dtype=torch.float64)
    return Feedback(torch.tensor(strength, dtype=torch.float64), grad)


EXTREMES = [
    feedback([0.03, 0.02, 0.002, 0.02], [2.7e-5, 2.8e-5, 4.6e-6, 1.7e-5]),
    feedback([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    feedback([1e-12, 1e6, 0.0, 1.0], [1e-30, 1e20, 0.0, 1.0]),
    feedback([0.5], [1e-9]),
]


@pytest.mark.parametrize("seen", EXTREMES)
@pytest.mark.parametrize("name", RULES)
def test_weights_lie_on_the_simplex_at_any_scale(name: str, seen: Feedback) -> None:
    weights = make_rule(name)(seen)
    assert weights.shape == seen.strength.shape
    assert weights.isfinite().all()
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", RULES)
def test_order_of_the_zoo_does_not_matter(name: str) -> None:
    seen, order = EXTREMES[0], torch.tensor([2, 0, 3, 1])
    straight = make_rule(name)(seen)
    shuffled = make_rule(name)(Feedback(seen.strength[order], seen.grad_l1[order]))
    torch.testing.assert_close(shuffled, straight[order])


@pytest.mark.parametrize("name", RULES)
def test_state_can_be_kept_restored_and_forgotten(name: str) -> None:
    rule, seen = make_rule(name), EXTREMES[0]
    first, second = rule(seen), rule(seen)
    resumed = make_rule(name)
    resumed(seen)
    copy = make_rule(name)
    copy.load_state_dict(resumed.state_dict())
    torch.testing.assert_close(copy(seen), second, rtol=0, atol=0)
    rule.reset()
    torch.testing.assert_close(rule(seen), first, rtol=0, atol=0)


FROZEN = {
    "uniform": [0.25, 0.25, 0.25, 0.25],
    "grad-norm": [0.106134, 0.102343, 0.622958, 0.168565],
    "aef": [0.248232, 0.253171, 0.255281, 0.243317],
}


@pytest.mark.parametrize("name", RULES)
def test_frozen_values(name: str) -> None:
    seen = feedback([0.03, 0.0103, 0.002, 0.05], [2.7e-5, 2.8e-5, 4.6e-6, 1.7e-5])
    expected = torch.tensor(FROZEN[name], dtype=torch.float64)
    torch.testing.assert_close(make_rule(name)(seen), expected, rtol=0, atol=1e-6)


def test_aef_equals_the_published_ema_softmax_trace() -> None:
    trace = json.loads((DATA / "fixtures.json").read_text())["ema_softmax"]
    rule = make_rule("aef", tau=trace["tau"], beta=trace["beta"])
    for strength, weights in zip(
        trace["interruption"], trace["weights_after_each_step"], strict=True
    ):
        ours = rule(feedback(strength))
        torch.testing.assert_close(ours, torch.tensor(weights, dtype=torch.float64), rtol=1e-9,
                                   atol=1e-12)  # fmt: skip


def test_aef_weights_solve_its_smoothed_max_min() -> None:
    """No other point of the simplex has a smaller <w, E> - tau H(w)."""
    seen = feedback([0.03, 0.01, 0.002, 0.02])
    best = make_rule("aef", tau=0.01, beta=0.0)(seen)

    def objective(w: torch.Tensor) -> torch.Tensor:
        return w @ seen.strength + 0.01 * torch.xlogy(w, w).sum()

    torch.manual_seed(0)
    for other in torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64)).sample((200,)):
        assert objective(best) <= objective(other)


def test_grad_norm_gives_every_generator_the_same_gradient_mass() -> None:
    seen = EXTREMES[0]
    mass = make_rule("grad-norm")(seen) * seen.grad_l1
    torch.testing.assert_close(mass, mass[:1].expand(4))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adam", {}, "unknown method 'adam'; known: uniform"),
        ("aef", {"tua": 1.0}, "no setting 'tua'; it has: tau, beta"),
        ("aef", {"tau": 0.0}, "tau must be positive"),
        ("aef", {"beta": 1.0}, r"beta must be in \[0, 1\)"),
        ("uniform", {"tau": 0.1}, "it has: none"),
    ],
)
def test_bad_rules_are_refused_by_name(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_rule(name, **settings)
