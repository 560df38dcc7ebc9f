"""The loop: bounded, seeded, resumable, and plain PGD where there is one generator."""

import dataclasses

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
from aef_core.perturbation.objective import clean_references, interruption, pooled
from aef_core.weighting import RULES, make_rule

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=5, step_size=0.01, batch=4)


def run(config: PerturbationConfig = CONFIG, method: str = "aef", **changes: object) -> State:
    *_, last = perturb(changes.get("zoo") or tiny_zoo(), make_faces(), make_rule(method), config)
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
        loop = perturb(tiny_zoo(), make_faces(), make_rule("aef"), config)
        for state in loop:
            if state.step == stop:
                break
        *_, resumed = perturb(tiny_zoo(), make_faces(), make_rule("aef"), config, state)
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
        x = (faces.images[rows] + delta).clamp(-1, 1)
        loss, _, _ = interruption(model, x, references, rows, CONFIG.feature_weight)
        loss.backward()
        velocity = 0.8 * velocity + delta.grad / delta.grad.abs().mean()
        delta = (delta.detach() + 0.01 * velocity.sign()).clamp(-0.05, 0.05)
    ours = run(zoo={"StarGAN": model})
    torch.testing.assert_close(ours.delta, delta, rtol=0, atol=0)


def test_the_weighted_step_equals_one_backward_of_the_weighted_sum() -> None:
    """Gradients one by one, combined, are the gradient of sum_k w_k S_k."""
    zoo, faces, rows = tiny_zoo(), make_faces(), torch.arange(4)
    references = clean_references(zoo, faces, 0, 4)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    delta = initial_state(faces.images, CONFIG).delta.requires_grad_()
    strengths = torch.stack(
        [
            interruption(m, faces.images[rows] + delta, references[k], rows, 0.3)[0]
            for k, m in zoo.items()
        ]
    )
    (joint,) = torch.autograd.grad((weights * strengths).sum(), delta, retain_graph=True)
    single = [torch.autograd.grad(s, delta, retain_graph=True)[0] for s in strengths]
    combined = torch.tensordot(weights, torch.stack(single), dims=1)
    torch.testing.assert_close(combined, joint, rtol=1e-4, atol=1e-9)


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


def test_a_specialist_sees_the_edits_of_the_joint_run() -> None:
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
    with pytest.raises(ValueError, match=f"{setting} is out of range: {value}"):
        PerturbationConfig(**{setting: value})


def test_an_empty_zoo_is_refused() -> None:
    with pytest.raises(ValueError, match="zoo is empty"):
        next(perturb({}, make_faces(), make_rule("uniform"), CONFIG))


def test_features_are_pooled_as_published_only_cheaper() -> None:
    feature = torch.randn(2, 96, 16, 16)
    published = F.interpolate(feature, size=(32, 32), mode="bilinear").sum(dim=1)
    assert torch.allclose(pooled(feature), published, atol=1e-4)
    assert not torch.allclose(pooled(feature.roll(1, dims=3)), published, atol=1.0)
