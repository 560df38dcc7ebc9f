"""The loop: bounded, seeded, resumable, and plain PGD where there is one generator."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from aef_core.models import DeepfakeModel
from aef_core.perturbation import (
    Diverged,
    PerturbationConfig,
    State,
    batch_rows,
    initial_state,
    perturb,
)
from aef_core.perturbation.objective import Problem, clean_references, interruption, pooled
from aef_core.weighting import AEF, RULES, Feedback, Uniform, Weighting, make_rule

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=5, step_size=0.01, batch=4)


def problem(zoo: dict[str, DeepfakeModel] | None = None) -> Problem:
    return Problem(zoo or tiny_zoo(), make_faces())


def run(config: PerturbationConfig = CONFIG, method: str = "aef", **changes: object) -> State:
    *_, last = perturb(problem(changes.get("zoo")), make_rule(method), config)
    return last


@pytest.mark.parametrize("method", RULES)
def test_delta_stays_in_the_box_and_every_step_is_recorded(method: str) -> None:
    state = run(method=method)
    assert state.delta.shape == (1, 3, 32, 32)
    assert state.delta.abs().max() <= CONFIG.eps
    assert len(state.history) == CONFIG.steps * 4
    for step in range(CONFIG.steps):
        rows = [row for row in state.history if row["step"] == step]
        assert sum(row["weight"] for row in rows) == pytest.approx(1)
        assert all(row["grad_l1"] > 0 for row in rows)
    cosines = torch.tensor(state.cosines)
    assert cosines.shape == (CONFIG.steps, 4, 4)
    torch.testing.assert_close(cosines.diagonal(dim1=1, dim2=2), torch.ones(CONFIG.steps, 4))


def test_optimising_interrupts_more_than_the_random_start() -> None:
    config = dataclasses.replace(CONFIG, steps=30)
    history = run(config, method="uniform").history
    total = [sum(r["strength"] for r in history if r["step"] == s) for s in range(30)]
    assert sum(total[-4:]) > 1.5 * sum(total[:4])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"universal": False},
        {"diversity": 1.0},
        {"feature_steps": 2, "diversity": 0.5},
        {"feature_weight": 0.0},
    ],
)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(change: dict) -> None:
    config = dataclasses.replace(CONFIG, **change)
    straight = run(config)
    for stop in (1, 3):
        loop = perturb(problem(), make_rule("aef"), config)
        for state in loop:
            if state.step == stop:
                break
        *_, resumed = perturb(problem(), make_rule("aef"), config, state)
        assert torch.equal(resumed.delta, straight.delta)
        assert resumed.history == straight.history


def test_seed_decides() -> None:
    assert torch.equal(run().delta, run().delta)
    other = dataclasses.replace(CONFIG, seed=1)
    assert not torch.equal(run().delta, run(other).delta)


def test_one_generator_is_plain_momentum_pgd(zoo: dict[str, DeepfakeModel]) -> None:
    """Against a loop written out by hand, as the literature writes it."""
    model, faces = zoo["StarGAN"], make_faces()
    references = clean_references({"StarGAN": model}, faces, CONFIG.seed, CONFIG.batch)["StarGAN"]
    delta = initial_state(faces.images, CONFIG).delta
    velocity = torch.zeros_like(delta)
    for step in range(CONFIG.steps):
        rows = batch_rows(len(faces), step, CONFIG)
        delta = delta.detach().requires_grad_()
        x = faces.images[rows] + delta
        loss, _, _ = interruption(model, x, references, rows, CONFIG.feature_weight)
        loss.backward()
        velocity = 0.8 * velocity + delta.grad / delta.grad.abs().mean()
        delta = (delta.detach() + 0.01 * velocity.sign()).clamp(-0.05, 0.05)
    ours = run(zoo={"StarGAN": model})
    torch.testing.assert_close(ours.delta, delta, rtol=0, atol=0)


class Fixed(Weighting):
    name = "fixed"

    def __call__(self, feedback: Feedback) -> torch.Tensor:
        return torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def test_a_step_goes_along_the_gradient_of_the_weighted_sum() -> None:
    """The loop combines gradients one by one; here sum_k w_k S_k has one backward."""
    zoo, faces, config = tiny_zoo(), make_faces(), dataclasses.replace(CONFIG, steps=1)
    rows = batch_rows(len(faces), 0, config)
    references = clean_references(zoo, faces, config.seed, config.batch)
    delta = initial_state(faces.images, config).delta.requires_grad_()
    x, share = faces.images[rows] + delta, config.feature_weight
    strengths = [interruption(m, x, references[k], rows, share)[0] for k, m in zoo.items()]
    total = sum(w * s for w, s in zip((0.1, 0.2, 0.3, 0.4), strengths, strict=True))
    (joint,) = torch.autograd.grad(total, delta)
    *_, last = perturb(Problem(zoo, faces), Fixed(), config)
    expected = (delta + config.step_size * joint.sign()).clamp(-config.eps, config.eps)
    sure = joint.abs() > 1e-3 * joint.abs().max()  # rounding decides the sign of the others
    assert sure.float().mean() > 0.9
    torch.testing.assert_close(last.delta[sure], expected[sure].detach())


def test_per_image_perturbations_differ_and_stay_bounded() -> None:
    config = dataclasses.replace(CONFIG, universal=False)
    delta = run(config).delta
    assert delta.shape == (6, 3, 32, 32)
    assert delta.abs().max() <= CONFIG.eps
    assert not torch.equal(delta[0], delta[1])


def test_nan_stops_with_step_and_generator() -> None:
    zoo = tiny_zoo()
    with torch.no_grad():
        zoo["HiSD"].encoder[0].weight[0] = float("nan")
    with pytest.raises(Diverged, match="step 0: HiSD"):
        run(zoo=zoo)


def test_a_run_on_one_generator_sees_the_edits_of_the_joint_run() -> None:
    zoo, faces = tiny_zoo(), make_faces()
    alone = clean_references({"AttGAN": zoo["AttGAN"]}, faces, 3, 4)["AttGAN"]
    joint = clean_references(zoo, faces, 3, 4)["AttGAN"]
    assert torch.equal(alone.conditions, joint.conditions)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("eps", 0.0), ("eps", -0.1), ("step_size", 0.0), ("steps", 0), ("batch", 0),
     ("feature_weight", 1.5), ("momentum", 1.5), ("diversity", 2.0), ("init", 0.0)],
)  # fmt: skip
def test_settings_out_of_range_are_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be .*, got {value}"):
        PerturbationConfig(**{setting: value})


def test_an_empty_zoo_is_refused() -> None:
    with pytest.raises(ValueError, match="zoo is empty"):
        Problem({}, make_faces())


def test_features_are_pooled_as_published_only_cheaper() -> None:
    """Resized to 32 x 32 where larger, and to the largest of them otherwise."""
    large, small = torch.randn(2, 96, 48, 48), torch.randn(2, 8, 16, 16)
    for features, side in (([large, small], 32), ([small, small[..., :8, :8]], 16)):
        each = [F.interpolate(f, size=(side, side), mode="bilinear") for f in features]
        published = torch.cat(each, dim=1).sum(dim=1)
        assert torch.allclose(pooled(features), published, atol=1e-4)
        assert not torch.allclose(pooled([features[0]]), published, atol=1.0)
    assert torch.equal(pooled([small]), small.sum(dim=1))


def test_feature_steps_move_by_signs_and_leave_the_momentum_alone() -> None:
    """With feature steps or without, the momentum after one step is its own gradient."""
    plain = dataclasses.replace(CONFIG, steps=1)
    for inner in (0, 3):
        state = run(dataclasses.replace(plain, feature_steps=inner), method="uniform")
        assert state.velocity.abs().mean().item() == pytest.approx(1)
    start = initial_state(make_faces().images, plain).delta
    small = dataclasses.replace(plain, feature_steps=3, step_size=1e-3)
    moved = run(small, method="uniform").delta - start
    assert moved.abs().max() <= 4e-3 + 1e-7


def test_a_step_divides_by_the_sum_or_by_each() -> None:
    """Gradients of equal mass: the length of their mean says how far they agree."""
    config = dataclasses.replace(CONFIG, steps=1, normalise="each", feature_weight=0.0)
    state = run(config, method="grad-norm")
    assert 0.1 < state.velocity.abs().mean().item() < 0.9
    with pytest.raises(ValueError, match="normalise must be one of sum, each, got 'both'"):
        PerturbationConfig(normalise="both")


def test_weights_that_are_not_finite_stop_with_rule_step_and_settings() -> None:
    class Broken(Uniform):
        name = "broken"

        def __call__(self, feedback: Feedback) -> torch.Tensor:
            return feedback.strength * math.nan

    class Later(AEF):
        def __call__(self, feedback: Feedback) -> torch.Tensor:
            broken = math.nan if self.state else 1.0  # from the second step on
            return super().__call__(feedback) * broken

    for rule, said in (
        (Broken(), r"step 0: rule 'broken' \(no settings\)"),
        (Later(), r"step 1: rule 'aef' \(tau=0.1, beta=0.9\)"),
    ):
        with pytest.raises(Diverged, match=f"{said} returned weights that are not finite"):
            list(perturb(problem(), rule, CONFIG))


def test_the_history_says_where_a_solver_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CAGrad averages where its program has no solution: recorded, step by step."""
    config = dataclasses.replace(CONFIG, steps=3)
    # raw gradients of these generators differ by 1e4: the min-norm direction vanishes
    assert all(row["solver_failed"] for row in run(config, method="cagrad").history)
    assert not any(row["solver_failed"] for row in run(config, method="mgda").history)

    from cvxpy.error import SolverError
    from torchjd import aggregation

    solve, calls = aggregation.CAGradWeighting.forward, []

    def fail_once(self: object, gramian: torch.Tensor) -> torch.Tensor:
        calls.append(gramian)
        if len(calls) == 2:
            raise SolverError("no solution")
        return solve(self, gramian)

    monkeypatch.setattr(aggregation.CAGradWeighting, "forward", fail_once)
    rule = make_rule("cagrad", rows="l2")
    *_, last = perturb(problem(), rule, config)
    failed = [row["solver_failed"] for row in last.history]
    assert failed == [False] * 4 + [True] * 4 + [False] * 4
