"""Each rule gives its known numbers: worked out by hand, or by other means than the code."""

import json

import pytest
import torch
from scipy.optimize import minimize_scalar

from aef_core.weighting import Feedback, make_rule
from aef_core.weighting.dynamics import project_simplex
from aef_core.weighting.gradients import project_dual_cone

from .conftest import DATA


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


S, L1 = [0.03, 0.0103, 0.002, 0.05], [2.7e-5, 2.8e-5, 4.6e-6, 1.7e-5]
SEEN = Feedback(tensor(S), tensor(L1), None, tensor(S))
# two gradients at odds, as small as pixel gradients are: <g_1, g_2> < 0
TWO = tensor([[1.0, 0.0], [-1.0, 2.0]]) * 1e-5
CONFLICT = Feedback(tensor([0.1, 0.2]), TWO.abs().mean(dim=1), TWO @ TWO.T)

FIRST_STEP = {
    # by hand on S and L1
    ("uniform",): [0.25, 0.25, 0.25, 0.25],
    ("grad-norm",): [0.106134, 0.102343, 0.622958, 0.168565],
    ("aef",): [0.25, 0.25, 0.25, 0.25],  # what it sees acts in the next step
    ("focal",): [0.093456, 0.368238, 0.538306, 0.0],  # (1 - S / 0.05)^2
    ("ohem",): [0, 0, 1, 0],
    ("ohem", "keep", 2): [0, 0.5, 0.5, 0],
    ("ohem", "keep", 9): [0.25, 0.25, 0.25, 0.25],
    ("dwa",): [0.25, 0.25, 0.25, 0.25],
    ("stch",): [0.190234, 0.311299, 0.383084, 0.115383],  # softmax(-S / 0.04)
    ("stch", "ideal", (0.03, 0.0103, 0.002, 0.05)): [0.25, 0.25, 0.25, 0.25],
    ("apgda",): [0.243075, 0.262775, 0.271075, 0.223075],  # 1/4 - S, shifted by 0.0923 / 4
    ("exp-grad",): [0.248232, 0.253171, 0.255281, 0.243317],  # softmax(-S)
    ("dwt-threshold", "every", 1): [0.289855, 0.236715, 0.236715, 0.236715],  # first has 21.2 dB
    ("dwt-threshold", "threshold_db", 40.0): [0.25, 0.25, 0.25, 0.25],
    ("kpi-focal",): [0.200340, 0.266728, 0.365308, 0.167624],
    # u = log(S / c) all equal: p uniform, so 1 / mean|g|
    ("max-min", "single_model", (0.3, 0.103, 0.02, 0.5)): [0.106134, 0.102343, 0.622958, 0.168565],
}


@pytest.mark.parametrize("case", FIRST_STEP, ids=lambda c: "-".join(map(str, c)))
def test_first_step(case: tuple) -> None:
    name, *setting = case
    rule = make_rule(name, **dict([setting] if setting else []))
    torch.testing.assert_close(rule(SEEN), tensor(FIRST_STEP[case]), rtol=0, atol=2e-6)


CONFLICTS = {
    # w = (|g_2|^2 - <g_1, g_2>) / |g_1 - g_2|^2 = 6 / 8
    ("mgda", "raw"): ([0.75, 0.25], 1e-6),
    # equal lengths: the middle, 1 / |g| in raw gradients: 1 : 1 / sqrt(5)
    ("mgda", "l2"): ([0.690983, 0.309017], 1e-6),
    # g_1 + g_2 / 5 and g_2 + g_1, added: 2 : 1.2
    ("pcgrad", "raw"): ([0.625, 0.375], 1e-9),
    # rows (2, 0) and (-2/3, 4/3): 4/3 : 8/5, over mean|g|: 8/3 : 16/15
    ("pcgrad", "l1"): ([5 / 7, 2 / 7], 1e-9),
    # for two rows the dual cone's projections are PCGrad's; 1e-4 is TorchJD's regularisation
    ("upgrad", "raw"): ([0.625, 0.375], 1e-3),
}


@pytest.mark.parametrize("case", CONFLICTS, ids="-".join)
def test_two_gradients_at_odds(case: tuple[str, str]) -> None:
    expected, tolerance = CONFLICTS[case]
    ours = make_rule(case[0], rows=case[1])(CONFLICT)
    torch.testing.assert_close(ours, tensor(expected), rtol=0, atol=tolerance)


def test_cagrad_solves_its_dual() -> None:
    """Against a one-dimensional search on the unscaled gradients."""
    c, mean = 0.5, TWO.mean(dim=0) * 1e5

    def combined(w: float) -> torch.Tensor:
        return (w * TWO[0] + (1 - w) * TWO[1]) * 1e5

    def dual(w: float) -> float:
        return float(combined(w) @ mean + c * mean.norm() * combined(w).norm())

    w = minimize_scalar(dual, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x
    raw = 0.5 + c * mean.norm() / combined(w).norm() * tensor([w, 1 - w])
    torch.testing.assert_close(
        make_rule("cagrad", c=c)(CONFLICT), raw / raw.sum(), rtol=0, atol=1e-4
    )
    assert make_rule("cagrad", c=0.0)(CONFLICT).tolist() == pytest.approx([0.5, 0.5])


def test_without_conflict_surgery_is_averaging() -> None:
    rows = torch.eye(3, dtype=torch.float64) * 1e-5
    seen = Feedback(tensor([0.1, 0.2, 0.3]), rows.abs().mean(dim=1), rows @ rows.T)
    for name in ("pcgrad", "upgrad", "mgda", "cagrad"):
        ours = make_rule(name, rows="raw")(seen)
        torch.testing.assert_close(ours, torch.full_like(ours, 1 / 3), rtol=0, atol=1e-4)


def test_dual_cone_projection_meets_its_conditions() -> None:
    """v >= u, G v >= 0 where v was moved, and nothing gained by moving further (KKT)."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows = torch.randn(4, 6, generator=generator, dtype=torch.float64)
        gramian = rows @ rows.T
        gramian = gramian / gramian.trace()
        u = torch.eye(4, dtype=torch.float64) / 4
        v = project_dual_cone(u, gramian)
        slope = v @ (gramian + 1e-4 * torch.eye(4))
        assert (v - u >= 0).all()
        assert (slope >= -1e-9).all()
        torch.testing.assert_close((v - u) * slope, torch.zeros_like(v), rtol=0, atol=1e-9)


def test_simplex_projection_is_the_nearest_point() -> None:
    assert project_simplex(tensor([0.5, 0.5])).tolist() == [0.5, 0.5]
    assert project_simplex(tensor([2.0, 0.0, 1.5])).tolist() == pytest.approx([0.75, 0, 0.25])
    assert project_simplex(tensor([1e9, 0.0])).tolist() == [1, 0]


def test_dwa_compares_two_epochs() -> None:
    """Means 0.1, 0.1 then 0.2, 0.1: rates 1/2 and 1 at temperature 2."""
    rule = make_rule("dwa", epoch=2)
    for s in ([0.05, 0.1], [0.15, 0.1], [0.1, 0.05], [0.3, 0.15]):
        assert rule(Feedback(tensor(s), tensor([1, 1]))).tolist() == [0.5, 0.5]
    ours = rule(Feedback(tensor([9.0, 9.0]), tensor([1, 1])))
    torch.testing.assert_close(ours, tensor([0.437823, 0.562177]), rtol=0, atol=1e-6)


def test_dwt_threshold_stops_when_all_are_broken() -> None:
    rule = make_rule("dwt-threshold", every=1)
    broken = Feedback(tensor([0.1, 0.1]), tensor([1, 1]), None, tensor([0.05, 0.04]))
    assert rule(broken).tolist() == [0.5, 0.5]
    second = Feedback(tensor([0.1, 0.1]), tensor([1, 1]), None, tensor([0.05, 0.039]))
    assert rule(second).tolist() == pytest.approx([0.495 / 1.045, 0.55 / 1.045])


def test_max_min_two_steps_by_hand() -> None:
    """c = (1, 1), B = (e^2, 1), equal gradients; gain 1, rate 0.1, memory 0.5, share 0.02."""
    rule = make_rule("max-min", single_model=(1, 1), gain=1, rate=0.1, memory=0.5, share=0.02)
    e = torch.tensor(2.0).double().exp().item()
    seen = Feedback(tensor([e, 1.0]), tensor([1.0, 1.0]))
    # level (2, 0), integral (-0.1, 0.1), logits apart by 2.2
    first = 0.98 / (1 + torch.tensor(2.2).double().exp()) + 0.01
    assert rule(seen)[0].item() == pytest.approx(first.item())
    # level (1, 0) after B = (1, 1): integral (-0.15, 0.15), logits apart by 1.3
    second = 0.98 / (1 + torch.tensor(1.3).double().exp()) + 0.01
    ours = rule(Feedback(tensor([1.0, 1.0]), tensor([1.0, 1.0])))
    assert ours[0].item() == pytest.approx(second.item())


def test_aef_equals_the_published_ema_softmax_trace() -> None:
    """The weights after a step are those of the next; the first are equal."""
    trace = json.loads((DATA / "fixtures.json").read_text())["ema_softmax"]
    rule = make_rule("aef", tau=trace["tau"], beta=trace["beta"])
    used = [[0.25] * 4, *trace["weights_after_each_step"]]
    for strength, weights in zip(trace["interruption"], used, strict=False):
        ours = rule(Feedback(tensor(strength), tensor([1.0] * len(strength))))
        torch.testing.assert_close(ours, tensor(weights), rtol=1e-9, atol=1e-12)


def test_aef_weights_solve_its_smoothed_max_min() -> None:
    """No other point of the simplex has a smaller <w, E> - tau H(w)."""
    s = tensor([0.03, 0.01, 0.002, 0.02])
    rule, seen = make_rule("aef", tau=0.01, beta=0.0), Feedback(s, tensor([1.0] * 4))
    rule(seen)
    best = rule(seen)  # the weights that follow from the step before

    def objective(w: torch.Tensor) -> torch.Tensor:
        return w @ s + 0.01 * torch.xlogy(w, w).sum()

    torch.manual_seed(0)
    for other in torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64)).sample((200,)):
        assert objective(best) <= objective(other)


@pytest.mark.parametrize(
    ("name", "settings"), [("grad-norm", {}), ("max-min", {"rate": 0.0, "gain": 0.0})]
)
def test_every_generator_gets_the_same_gradient_mass(name: str, settings: dict) -> None:
    mass = make_rule(name, **settings)(SEEN) * SEEN.grad_l1
    torch.testing.assert_close(mass, mass[:1].expand(4))
