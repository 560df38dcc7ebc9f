"""Which rules reach a known equilibrium, in the loop's own step on games small enough to solve."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from aef_core.weighting import Feedback, Weighting, make_rule
from companion.studies.equilibrium import maxmin_gap

EPS = 0.05
Play = tuple[Tensor, pd.DataFrame]


@dataclass
class LinearGame:
    """S_k(d) = scale_k (b_k + a_k d), conflicting on purpose: its value is a linear program."""

    a: Tensor  # [K, n]
    b: Tensor  # [K]

    @staticmethod
    def drawn(seed: int, scale: tuple[float, ...] = (1.0, 0.3, 0.05), n: int = 60) -> "LinearGame":
        rows = torch.randn(
            len(scale), n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        rows = (rows - 0.2 * rows.sum(0)) * torch.tensor(scale).double()[:, None] / n / EPS
        return LinearGame(rows, rows.abs().sum(1) * EPS)  # never negative in the box

    def __call__(self, d: Tensor) -> tuple[Tensor, Tensor]:
        return self.b + self.a @ d, self.a

    @property
    def references(self) -> tuple[float, ...]:
        return tuple((self.b + self.a.abs().sum(1) * EPS).tolist())

    def solve(self) -> tuple[float, np.ndarray]:
        """max_d min_k S_k / c_k, and the multipliers of that minimum (the dual solution)."""
        k, n = self.a.shape
        c = np.array(self.references)[:, None]
        left = np.hstack([-self.a.numpy() / c, np.ones((k, 1))])
        cost = np.append(np.zeros(n), -1.0)
        bounds = [(-EPS, EPS)] * n + [(None, None)]
        done = linprog(cost, left, self.b.numpy() / c[:, 0], bounds=bounds)
        return -done.fun, -done.ineqlin.marginals


@dataclass
class Hills:
    """S = scale (1 - (d - 1)^2 / 4, 1 - (d + 1)^2 / 4): tops at +-1, balanced at 0 with 3/4."""

    scale: tuple[float, float] = (1.0, 0.02)

    def __call__(self, d: Tensor) -> tuple[Tensor, Tensor]:
        top, scale = torch.tensor([1.0, -1.0]).double(), torch.tensor(self.scale).double()
        return scale * (1 - (d - top) ** 2 / 4), (scale * (top - d) / 2)[:, None]


def play(
    game: Callable, rule: Weighting, start: Tensor, bound: float, step: float, steps: int
) -> Play:
    """The loop of `perturbation.py` without images: normalise, momentum, sign, clip."""
    d, velocity, rows = start.clone(), torch.zeros_like(start), []
    for t in range(steps):
        s, g = game(d)
        weights = rule(Feedback(s, g.abs().mean(dim=1), g @ g.T, s))
        direction = weights @ g
        velocity = 0.8 * velocity + direction / direction.abs().mean().clamp_min(1e-300)
        d = (d + step * velocity.sign()).clamp(-bound, bound)
        rows += [
            {"step": t, "model": str(k), "strength": s[k].item(), "weight": weights[k].item()}
            for k in range(len(s))
        ]
    return d, pd.DataFrame(rows)


def play_linear(name: str, seed: int = 0, steps: int = 150, **settings: object) -> Play:
    game = LinearGame.drawn(seed)
    start = torch.rand(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return play(game, make_rule(name, **settings), (start * 2 - 1) * EPS, EPS, 1e-3, steps)


def share_of_value(name: str, seed: int, **settings: object) -> float:
    """min_k S_k / c_k reached, over the value of the game."""
    game = LinearGame.drawn(seed)
    strength, _ = game(play_linear(name, seed, **settings)[0])
    return float((strength / torch.tensor(game.references)).min() / game.solve()[0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_max_min_reaches_the_value_of_linear_games(seed: int) -> None:
    references = LinearGame.drawn(seed).references
    assert share_of_value("max-min", seed, single_model=references) > 0.99
    assert share_of_value("max-min", seed) > 0.99  # in a linear game |g| is the reference


@pytest.mark.parametrize(
    ("name", "settings", "at_most"),
    [
        ("uniform", {}, 0.5),
        ("grad-norm", {}, 0.96),
        ("aef", {"tau": 0.1}, 0.55),
        ("aef", {"tau": 0.001}, 0.55),
        ("ohem", {}, 0.5),
        ("apgda", {}, 0.5),
        ("exp-grad", {}, 0.5),
        ("kpi-focal", {}, 0.8),
        ("dwt-threshold", {}, 0.55),
    ],
)
def test_rules_that_see_raw_strengths_stop_elsewhere(
    name: str, settings: dict, at_most: float
) -> None:
    """Scales 1 : 0.3 : 0.05: they balance S itself, or pushes, not what could be reached."""
    assert share_of_value(name, 0, **settings) < at_most


@pytest.mark.parametrize("seed", [0, 1])
def test_its_weights_are_the_multipliers_of_the_linear_program(seed: int) -> None:
    """w_k c_k, averaged over the last quarter, against the dual solution; and a small gap."""
    game = LinearGame.drawn(seed)
    _, history = play_linear("max-min", seed, single_model=game.references)
    value, dual = game.solve()
    late = history[history["step"] >= 112].groupby("model")["weight"].mean().to_numpy()
    ours = late * np.array(game.references)
    np.testing.assert_allclose(ours / ours.sum(), dual, atol=0.01)
    gap = maxmin_gap(history, game.references)
    assert gap["relative_gap"] < 0.01
    assert gap["worst"] <= value * (1 + 1e-9)
    assert gap["weighted"] == pytest.approx(value, rel=0.01)


def test_without_the_proportional_term_the_weights_cycle() -> None:
    """The same game, the same rate: only the gain differs. It shows in the spread over time."""
    references = LinearGame.drawn(0).references

    def swing(gain: float) -> float:
        _, history = play_linear("max-min", 0, single_model=references, rate=0.3, gain=gain)
        late = history[history["step"] >= 75].assign(q=lambda h: h["weight"])
        return late.groupby("model")["q"].std().max()

    assert swing(0.0) > 3 * swing(5.0)


def test_without_the_integral_term_a_residual_remains() -> None:
    """Proportional control needs unequal strengths to keep weights unequal: AEF's own limit."""
    references = LinearGame.drawn(0).references

    def gap(rate: float, gain: float) -> float:
        _, history = play_linear("max-min", 0, single_model=references, rate=rate, gain=gain)
        return maxmin_gap(history, references)["relative_gap"]

    assert gap(0.0, 1.0) > 5 * gap(0.1, 5.0)


@pytest.mark.parametrize("scale", [1.0, 0.02, 1e-6])
def test_two_hills_are_balanced_whatever_their_height(scale: float) -> None:
    """The answer is d = 0 with 3/4 each; plain averaging climbs the higher hill."""
    start = torch.tensor([0.9], dtype=torch.float64)
    rule = make_rule("max-min", single_model=(1.0, scale))
    d, history = play(Hills((1.0, scale)), rule, start, 1.0, 0.01, 300)
    assert abs(d.item()) < 0.1
    assert maxmin_gap(history, (1.0, scale))["worst"] == pytest.approx(0.75, abs=0.05)
    if scale < 1:
        averaged, _ = play(Hills((1.0, scale)), make_rule("uniform"), start, 1.0, 0.01, 300)
        assert averaged.item() > 0.9


def test_a_generator_that_is_always_ahead_gets_only_its_share() -> None:
    """Its multiplier at the equilibrium is 0; the others share the rest."""
    game = LinearGame(torch.eye(3, 30).double(), torch.tensor([0.1, 0.1, 5.0]).double())
    start = torch.zeros(30, dtype=torch.float64)
    rule = make_rule("max-min", single_model=(1, 1, 1), share=0.03)
    _, history = play(game, rule, start, EPS, 1e-3, 100)
    last = history[history["step"] == 99]["weight"].to_numpy()
    np.testing.assert_allclose(last, [0.495, 0.495, 0.01], atol=0.01)


def test_the_gap_is_zero_at_equilibrium_and_counts_weight_on_those_ahead() -> None:
    def history(strength: list[float], weight: list[float]) -> pd.DataFrame:
        rows = zip("ab", strength, weight, strict=True)
        return pd.DataFrame(
            [{"step": 0, "model": m, "strength": s, "weight": w} for m, s, w in rows]
        )

    even = maxmin_gap(history([0.2, 0.1], [0.5, 0.5]), (2.0, 1.0))
    assert even == pytest.approx({"worst": 0.1, "weighted": 0.1, "gap": 0, "relative_gap": 0})
    # q = (1/2, 1/2) and u = (0.2, 0.1)
    uneven = maxmin_gap(history([0.2, 0.1], [0.5, 0.5]))
    expected = {"worst": 0.1, "weighted": 0.15, "gap": 0.05, "relative_gap": 1 / 3}
    assert uneven == pytest.approx(expected)
    assert maxmin_gap(history([0.0, 0.0], [0.5, 0.5]))["relative_gap"] == 0
