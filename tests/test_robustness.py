"""Channels do what they say, survival compares like with like, the attackers are real."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aef_core.methods import make_method
from aef_core.metrics import SUCCESS_THRESHOLD, Evaluator, l2_mask, per_model, psnr
from aef_core.models import DeepfakeModel
from aef_core.models.base import fingerprint
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Problem, seeded
from aef_core.perturbation.store import run_hash
from aef_core.runs import optimize, run_identity
from companion.studies import robustness as R
from companion.studies.attackers import estimate_universal, subtraction_attack
from companion.training.patching import LowRank, adapt, adapters, merged, retrain

from .conftest import make_faces, tiny_zoo


def pattern(eps: float = 0.05, size: int = 32) -> Tensor:
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    return eps * (noise - 0.5).sign()


@pytest.mark.parametrize("name", R.TRANSFORMS)
def test_every_channel_keeps_shape_and_range_and_does_not_touch_its_input(name: str) -> None:
    x = make_faces().images
    before = x.clone()
    y = R.TRANSFORMS[name](x + 0.0)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert y.abs().max() <= 1 + 1e-6
    assert torch.equal(x, before)
    assert torch.equal(y, R.TRANSFORMS[name](x)), "clean and protected must meet the same channel"


def test_jpeg_at_quality_100_is_nearly_the_identity_and_gets_coarser() -> None:
    x = R.publish(make_faces().images + pattern())
    loss = [psnr(x, R.jpeg(x, q)).mean() for q in (100, 90, 50)]
    assert loss[0] > 45
    assert loss[0] > loss[1] > loss[2]
    with pytest.raises(ValueError, match="quality is out of range: 0"):
        R.jpeg(x, 0)


@pytest.mark.parametrize("smooth", [lambda x: R.blur(x, 1.0), lambda x: R.resize(x, 0.5), R.purify])
def test_smoothing_leaves_a_flat_photo_and_weakens_a_pattern(smooth: Callable) -> None:
    flat = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(smooth(flat), flat, atol=1e-4, rtol=0)
    assert (smooth(flat + pattern()) - flat).abs().mean() < 0.7 * 0.05


def test_median_removes_a_single_pixel_and_crop_keeps_the_middle() -> None:
    x = torch.zeros(1, 3, 32, 32)
    x[..., 5, 5] = 1
    assert R.median(x).abs().max() == 0
    middle = torch.zeros(1, 3, 32, 32)
    middle[..., 8:24, 8:24] = 1
    assert R.crop(middle, 0.5).min() == 1


def test_survival_agrees_with_the_evaluator_and_a_zero_delta_survives_as_zero(
    zoo: dict[str, DeepfakeModel],
) -> None:
    zoo = {name: zoo[name] for name in ("StarGAN", "HiSD")}
    evaluator = Evaluator(zoo, make_faces(4, seed=5))
    delta = pattern(0.2)
    channels = {k: R.TRANSFORMS[k] for k in ("8-bit", "blur 1 px")}
    table = R.survival(evaluator, {"none": torch.zeros_like(delta), "some": delta}, channels)
    assert len(table) == 2 * 2 * 2
    assert "above" not in table
    floored = R.survival(evaluator, {"random": pattern(0.05), "some": delta}, channels)
    above = floored.set_index(["transform", "method", "model"])["above"]
    assert not above.xs("random", level="method").any()
    assert above["8-bit", "some", "StarGAN"]
    assert (table.loc[table["method"] == "none", "l2_mask"] == 0).all()
    assert (table["pairs"] + table["excluded"] > 0).all()
    rows = table[(table["method"] == "some") & (table["transform"] == "8-bit")]
    # the evaluator's reference is the forgery of the float photo, survival's of the 8-bit one
    expected = per_model(evaluator(delta))["l2_mask"]
    assert rows.set_index("model")["l2_mask"].to_numpy() == pytest.approx(expected, rel=0.2)


def test_only_what_interrupts_somebody_is_stressed(zoo: dict[str, DeepfakeModel]) -> None:
    few = Evaluator(zoo, make_faces(3, seed=1))
    pattern = make_faces(1, seed=2).images
    deltas = {"strong": pattern, "nothing": 0 * pattern, "less": 0.9 * pattern}
    table = R.survival(few, deltas, {"8-bit": R.publish}).set_index(["method", "model"])["l2_mask"]
    moved = [name for name in zoo if table["strong", name] > SUCCESS_THRESHOLD]
    assert table["less"].max() > SUCCESS_THRESHOLD > table["nothing"].max()
    stressed, victims = R.interrupting(few, deltas)
    assert list(stressed) == ["strong", "less"]
    assert victims == moved
    assert 0 < len(victims) < len(zoo), "some generator ought to be spared here"
    faint, most = R.interrupting(few, {"none": 0 * pattern, "faint": 0.001 * pattern})
    assert list(faint) == ["faint"], "the strongest, where none interrupts"
    assert len(most) == 1


def test_expectation_is_differentiable_seeded_and_named() -> None:
    x = make_faces().images.clone().requires_grad_()
    for k in range(12):
        y = R.Expectation()(x, seeded(0, f"draw {k}"))
        assert y.shape == x.shape
        assert torch.equal(y, R.Expectation()(x, seeded(0, f"draw {k}")))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.abs().sum() > 0


def test_a_transformation_is_part_of_a_runs_identity_only_when_it_is_there(
    zoo: dict[str, DeepfakeModel],
) -> None:
    faces, config = make_faces(), PerturbationConfig(steps=2, batch=4)
    plain = optimize(zoo, faces, "uniform", config, progress=False)
    identity = run_identity(Problem(zoo, faces), make_method("uniform"), config)
    assert plain.path.name == run_hash(identity)
    through = R.Expectation()
    other = optimize(zoo, faces, "uniform", config, transform=through, progress=False)
    assert other.path != plain.path
    assert other.config["transform"] == R.Expectation().name
    assert not torch.equal(other.delta, plain.delta)


def test_mean_residual_recovers_delta_exactly_when_the_clean_means_are_equal() -> None:
    x, delta = make_faces(8).images * 0.5, pattern()
    estimate = estimate_universal(x + delta, x)
    torch.testing.assert_close(estimate, delta, atol=1e-6, rtol=0)


def test_high_pass_means_need_fewer_photos_of_other_people() -> None:
    delta = pattern()
    protected, clean = make_faces(8, seed=1).images * 0.8 + delta, make_faces(8, seed=2).images

    def cosine(estimate: Tensor) -> float:
        return torch.nn.functional.cosine_similarity(estimate.flatten(), delta.flatten(), 0).item()

    plain = cosine(estimate_universal(protected, clean))
    high = cosine(estimate_universal(protected, clean, lambda x: R.blur(x, 1.0)))
    assert high > 0.8 > plain


def test_subtraction_weakens_a_known_pattern(zoo: dict[str, DeepfakeModel]) -> None:
    evaluator, delta = Evaluator(zoo, make_faces(3, seed=5)), pattern(0.2)
    photos, clean = make_faces(8, seed=6).images, make_faces(8, seed=7).images
    table = subtraction_attack(evaluator, delta, photos, clean, [0, 8])
    left = table.pivot(index="model", columns="n", values="l2_mask")
    assert (left[8] < 0.5 * left[0]).all()
    first = {name: Evaluator({name: m}, evaluator.faces) for name, m in zoo.items()}
    one = subtraction_attack(evaluator, delta, photos, clean, [0], edits=1)
    for name, value in one.set_index("model")["l2_mask"].items():
        edit, x = zoo[name].edits[0], evaluator.faces.images
        judge = first[name]
        after = judge.forge(R.publish(x + delta), name, edit)
        expected = l2_mask(judge.forged(name, edit), after, x).nanmean().item()
        assert value == pytest.approx(expected)
    with pytest.raises(ValueError, match="has 8 photos, 9 were asked for"):
        subtraction_attack(evaluator, delta, photos, clean, [9])


@pytest.mark.parametrize("name", tiny_zoo())
def test_lora_starts_as_the_identity_changes_low_rank_only_and_merges(name: str) -> None:
    model, faces = tiny_zoo()[name], make_faces()
    before = fingerprint(model)
    c = model.conditions(faces.attributes, model.edits[0])
    patched = adapters(model, rank=2)
    torch.testing.assert_close(patched(faces.images, c), model(faces.images, c))
    trained = [p for p in patched.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) > 0
    torch.manual_seed(0)
    for module in patched.modules():
        if isinstance(module, LowRank):
            torch.nn.init.normal_(module.b)
    plain = merged(patched)
    assert plain.state_dict().keys() == model.state_dict().keys()
    ranks = []
    for key, value in plain.state_dict().items():
        change = value - model.state_dict()[key]
        if value.dim() == 4:
            ranks.append(int(torch.linalg.matrix_rank(change.flatten(1), rtol=1e-4)))
        else:
            assert not change.abs().any(), key
    assert max(ranks) == 2
    assert fingerprint(model) == before, "the original generator was touched"


def test_patching_and_retraining_bring_the_forgery_back(zoo: dict[str, DeepfakeModel]) -> None:
    model, faces, delta = zoo["StarGAN"], make_faces(8), pattern(0.2)
    for repair in (adapt, retrain):
        result = repair(model, faces, delta, epochs=4, learning_rate=1e-2, seed=0)
        assert result.losses[-1] < 0.9 * result.losses[0]
        again = repair(model, faces, delta, epochs=4, learning_rate=1e-2, seed=0)
        assert fingerprint(again.model) == fingerprint(result.model)
        assert fingerprint(result.model) != fingerprint(model)
    with pytest.raises(ValueError, match="rank is out of range: 0"):
        adapters(model, rank=0)


def test_patching_without_a_leaked_pattern_makes_its_own(zoo: dict[str, DeepfakeModel]) -> None:
    result = adapt(zoo["HiSD"], make_faces(4), None, attack_steps=2)
    assert len(result.losses) == 1
