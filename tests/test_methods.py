"""Every method of the field: bounded, seeded, found again, and true to its formula."""

import dataclasses

import numpy as np
import pytest
import torch

from aef_core.methods import METHODS, PUBLISHED, make_method
from aef_core.methods.cmua import targets
from aef_core.metrics import Evaluator
from aef_core.models import AttGAN
from aef_core.perturbation import Diverged, PerturbationConfig, State, initial_state
from aef_core.perturbation.budgets import ChromaWavelet, Separated, haar_inverse
from aef_core.perturbation.execution import Execution
from aef_core.perturbation.objective import clean_references, interruption, wasserstein
from aef_core.perturbation.store import Run
from aef_core.runs import optimize
from companion.studies.budgets import Chroma, luma
from companion.studies.planning import method_table
from companion.studies.robustness import Expectation
from companion.studies.search import search_factors

from .conftest import make_faces, tiny_zoo

CONFIG = PerturbationConfig(steps=3, step_size=0.01, batch=4)
QUICK = {"cmua": {"inner": 2}, "tsdf": {"poison_steps": 2, "inner": 1}, "found": {"inner": 1}}
PER_IMAGE = ("fgsm", "pgd", "mi-fgsm")


def run(
    name: str, config: PerturbationConfig = CONFIG, settings: dict | None = None, **more
) -> Run:
    settings = {**QUICK.get(name, {}), **(settings or {})}
    zoo = more.pop("zoo", None) or tiny_zoo()
    return optimize(zoo, make_faces(), name, config, settings=settings, progress=False, **more)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_bounded_seeded_recorded_and_found_again(name: str) -> None:
    first = run(name)
    assert first.delta.shape == (1, 3, 32, 32)
    assert 0 < first.delta.abs().max() <= CONFIG.eps + 1e-7
    assert {"step", "model", "strength", "weight", "grad_l1"} <= set(first.history)
    assert set(tiny_zoo()) <= set(first.history["model"])
    assert first.history.groupby("step")["weight"].sum().to_numpy() == pytest.approx(1)
    assert first.seconds > 0

    def refuse(state: State) -> None:
        raise AssertionError("computed again")

    assert torch.equal(run(name, on_step=refuse).delta, first.delta)
    other = run(name, dataclasses.replace(CONFIG, seed=1))
    assert not torch.equal(other.delta, first.delta)
    assert other.path != first.path


@pytest.mark.parametrize("name", PER_IMAGE)
def test_per_image_methods_make_one_perturbation_a_face(name: str) -> None:
    made = run(name, settings={"universal": False} | ({"passes": 2} if name != "fgsm" else {}))
    assert made.delta.shape == (6, 3, 32, 32)
    assert made.delta.abs().max() <= CONFIG.eps
    assert not torch.equal(made.delta[0], made.delta[1])


@pytest.mark.parametrize("name", ["cmua", "tsdf", "dwt"])
def test_a_killed_method_goes_on_to_the_same_bits(name: str) -> None:
    """Those that compose the loop or leave the pixels; the others are the loop."""
    config = dataclasses.replace(CONFIG, steps=38 if name == "cmua" else 6)  # 3 rounds of CMUA
    straight = run(name, config, keep=False)
    last = straight.history["step"].max()

    def kill(state: State) -> None:
        if state.step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(name, config, on_step=kill, checkpoint_every=1)
    seen = []
    resumed = run(name, config, on_step=lambda s: seen.append(s.step), checkpoint_every=1)
    assert torch.equal(resumed.delta, straight.delta)
    assert resumed.history.equals(straight.history)
    assert seen[0] >= last, "nothing was resumed"


def test_a_bare_rule_leaves_the_loop_as_it_is_set() -> None:
    config = dataclasses.replace(CONFIG, feature_weight=0.7, feature_steps=1, momentum=0.5)
    for name in ("uniform", "aef"):  # AEF fixes nothing that it is not given
        assert make_method(name).loop(config, 6, tiny_zoo()) == config


def test_settings_travel_apart_from_arguments() -> None:
    """OHEM's `keep` is how many generators, `optimize`'s whether the run is stored."""
    one, two = (run("ohem", settings={"keep": k}) for k in (1, 2))
    assert (one.config["settings"], two.config["settings"]) == ({"keep": 1}, {"keep": 2})
    assert one.path != two.path
    for made, pushed in ((one, 1), (two, 2)):
        assert made.history.groupby("step")["weight"].agg(lambda w: (w > 0).sum()).eq(pushed).all()
    zoo, faces = tiny_zoo(), make_faces()
    for wrong, message in (
        ({"keep": 2}, r"keep must be True or False, got 2; .* settings=\{'keep': 2\}"),
        ({"loop": "x"}, "method 'ohem' has no setting 'loop'; it has: keep"),
        ({"recipe": {}}, "method 'ohem' has no setting 'recipe'"),
        ({"settings": {"recipe": 1}}, "method 'ohem' has no setting 'recipe'"),
        ({"settings": {"eps": 1.0}}, "method 'ohem' has no setting 'eps'"),
        ({"settings": {"keep": 1.5}}, r"keep must be a whole number, got 1\.5"),
    ):
        with pytest.raises(ValueError, match=message):
            optimize(zoo, faces, "ohem", CONFIG, **wrong)
    with pytest.raises(ValueError, match="setting 'tau' is given twice"):
        optimize(zoo, faces, "aef", CONFIG, settings={"tau": 0.1}, tau=0.1)


def test_a_method_with_a_budget_of_its_own_takes_no_other() -> None:
    for name in ("dwt", "tsdf"):
        with pytest.raises(ValueError, match=f"{name} has a budget of its own: .* 'chroma'"):
            run(name, budget=Chroma())


def test_settings_are_part_of_a_run() -> None:
    plain, damped = run("cmua"), run("cmua", settings={"momentum": 0.9})
    assert plain.path != damped.path
    assert damped.config["settings"]["momentum"] == 0.9


def test_nan_stops_a_composed_method_too() -> None:
    zoo = tiny_zoo()
    with torch.no_grad():
        zoo["HiSD"].encoder[0].weight[0] = float("nan")
    with pytest.raises(Diverged, match="HiSD"):
        run("cmua", zoo=zoo)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("no-such", {}, "unknown method 'no-such'; known: random, fgsm"),
        ("cmua", {"kk": 1}, "method 'cmua' has no setting 'kk'; it has: inner"),
        ("cmua", {"inner": 0}, "inner must be 1 or more, got 0"),
        ("cmua", {"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1\.0"),
        ("pgd", {"passes": 0}, "passes must be 1 or more, got 0"),
        ("aef", {"tau": "abc"}, "tau must be a number, got 'abc'"),
        ("max-min", {"share": 2.0}, r"share must be in \(0, 1\), got 2\.0"),
        ("dwt", {"every": 0}, "every must be 1 or more, got 0"),
        ("tsdf", {"threshold": 0.0}, r"threshold must be positive, got 0\.0"),
        ("found", {"inner": -1}, "inner must be 0 or more, got -1"),
        ("tsdf", {"inner": -1}, "inner must be 0 or more, got -1"),
    ],
)
def test_mistakes_are_named(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_method(name, **settings)


def test_the_table_has_a_documented_line_per_method() -> None:
    table = method_table(tiny_zoo())
    assert list(table.index) == list(PUBLISHED)
    for kind in PUBLISHED.values():
        for word in ("Formula:", "Source:"):
            assert word in kind.__doc__, f"{kind.name} does not say its {word}"


def test_methods_are_compared_at_equal_computation() -> None:
    """But for those of one step; TSDF's poison comes on top, CMUA makes whole rounds."""
    config, zoo = PerturbationConfig(steps=480), tiny_zoo()
    for name in set(PUBLISHED) - {"fgsm", "random"}:
        method = make_method(name)
        steps = method.loop(config, 64, zoo).steps - getattr(method, "poison_steps", 0)
        assert steps * method.cost(zoo) == pytest.approx(480, abs=method.cost(zoo) / 2 + 1), name
    assert make_method("cmua").cost(zoo) == 10 * (5 + 5 + 14 + 1) / 4


def test_aef_on_outputs_alone_feels_outputs_alone() -> None:
    alone, both = run("aef", settings={"feature_weight": 0.0}).history, run("aef").history
    assert alone["strength"].to_numpy() == pytest.approx(alone["output_mse"].to_numpy())
    assert both["strength"].to_numpy() != pytest.approx(both["output_mse"].to_numpy())


def test_fgsm_is_the_formula() -> None:
    """One generator: the corner of the box the gradient of the output MSE points at."""
    zoo, faces = {"AttGAN": tiny_zoo()["AttGAN"]}, make_faces()
    made = optimize(zoo, faces, "fgsm", CONFIG, keep=False, progress=False)
    loop = make_method("fgsm").loop(CONFIG, len(faces), zoo)
    assert (loop.steps, loop.batch) == (1, 6)
    references = clean_references(zoo, faces, 0, 6)["AttGAN"]
    start = initial_state(faces.images, loop).delta.requires_grad_()
    x = faces.images + start
    loss = interruption(zoo["AttGAN"], x, references, torch.arange(6), 0.0)[1]
    (gradient,) = torch.autograd.grad(loss, start)
    sure = gradient.abs() > 1e-3 * gradient.abs().max()  # the loop sees the faces shuffled
    assert sure.float().mean() > 0.5
    expected = CONFIG.eps * gradient.sign()
    torch.testing.assert_close(made.delta[sure], expected[sure])


def test_cmua_attacks_every_edit_and_of_hisd_glasses_alone() -> None:
    zoo = tiny_zoo()
    asked = {name: targets(name, model) for name, model in zoo.items()}
    assert asked["StarGAN"] == list(zoo["StarGAN"].edits)
    assert asked["HiSD"] == ["Eyeglasses"]
    assert asked["AttGAN"] == [None, *zoo["AttGAN"].edits]
    faces = make_faces()
    as_it_is = zoo["AttGAN"].keep_condition(faces.images, faces.attributes)
    assert as_it_is.tolist() == (faces.attributes - 0.5).tolist()
    shares = run("cmua").history.set_index("model")["weight"].to_dict()
    assert shares == pytest.approx(
        {"StarGAN": 5 / 25, "AttentionGAN": 5 / 25, "HiSD": 1 / 25, "AttGAN": 14 / 25}
    )


def test_cmua_fills_its_budget() -> None:
    """Patterns fused once after ten steps per image cancel: mean|delta| was 0.2 eps here."""
    zoo = {"AttGAN": AttGAN(width=4, layers=3, image_size=32).eval()}
    zoo["AttGAN"].edits = ("Young",)
    config = dataclasses.replace(CONFIG, steps=60, batch=6)
    delta = run("cmua", config, settings={"inner": 10}, zoo=zoo).delta
    assert delta.abs().mean() > 0.6 * config.eps


def test_cmua_refuses_what_it_cannot_honour() -> None:
    with pytest.raises(ValueError, match="cmua attacks outputs of untransformed photos"):
        run("cmua", transform=Expectation())


def test_random_is_signs_at_the_bound() -> None:
    made = run("random")
    assert (made.delta.abs() == CONFIG.eps).all()
    assert abs(made.delta.sign().mean()) < 0.1
    assert made.history["step"].unique().tolist() == [0]


def test_a_factor_of_zero_leaves_a_generator_out_of_cmua() -> None:
    zoo = {name: tiny_zoo()[name] for name in ("StarGAN", "AttGAN")}
    both = run("cmua", zoo=zoo, settings={"factors": {"StarGAN": 0.0, "AttGAN": 0.0}})
    assert both.delta.abs().max() == 0


def test_the_search_finds_factors_and_records_every_trial() -> None:
    zoo = {name: tiny_zoo()[name] for name in ("StarGAN", "AttGAN")}
    judge = Evaluator(zoo, make_faces(3, seed=1))
    config = dataclasses.replace(CONFIG, steps=1)
    factors, history = search_factors(zoo, make_faces(4), judge, config, 2, "l2_mask")
    assert set(factors) == set(zoo)
    assert len(history) == 2
    assert history.loc[0, list(zoo)].tolist() == [1.0, 1.0]
    best = history.loc[history["value"].idxmax()]
    assert factors == pytest.approx({name: best[name] for name in zoo})
    with pytest.raises(ValueError, match="unknown measure 'psnr'"):
        search_factors(zoo, make_faces(4), judge, config, 3, "psnr")


def haar(x: torch.Tensor) -> torch.Tensor:
    """One level of the orthonormal Haar transform, [B, 1, H, W] to [B, 4, H / 2, W / 2]."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], dim=1) / 2


def test_haar_is_the_orthonormal_transform_in_the_usual_order_of_bands() -> None:
    """The four basis images of a 2 x 2 block, as `pywt.dwt2(x, "haar")` has them."""
    basis = [[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]
    images = torch.tensor(basis, dtype=torch.float64)[:, None] / 2
    torch.testing.assert_close(haar(images).flatten(1), torch.eye(4, dtype=torch.float64))
    one_band_each = torch.eye(4, dtype=torch.float64)[:, :, None, None]
    torch.testing.assert_close(haar_inverse(one_band_each), images)
    x = torch.randn(2, 1, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(haar(x).square().sum(), x.square().sum())
    torch.testing.assert_close(haar_inverse(haar(x)), x)


def test_dwt_touches_only_chroma_bands_within_both_clips() -> None:
    delta = run("dwt").delta
    y = luma(delta)
    assert y.abs().max() < 1e-6
    for colour, scale in ((delta[:, 2:], 1.772), (delta[:, :1], 1.402)):  # Cb, Cr of BT.601
        bands = haar((colour - y) / scale)
        assert 0 < bands.abs().max() <= 0.8 * CONFIG.eps + 1e-6
    with pytest.raises(ValueError, match="even sides, the images are 5 x 4"):
        ChromaWavelet().shape(torch.zeros(1, 3, 5, 4))


def test_chroma_wavelet_projection_is_idempotent() -> None:
    space = ChromaWavelet()
    theta = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    once = space.project(theta, 0.05)
    assert space.decode(once).abs().max() <= 0.05 + 1e-7
    torch.testing.assert_close(space.project(once, 0.05), once)


def test_tsdf_separates_by_intensity() -> None:
    """Threshold and decay by hand: strong pixels keep u, weak ones leave room."""
    u = torch.tensor([0.05, -0.041, 0.039, -0.02, 0.0]).view(1, 1, 1, 5)
    space = Separated(u)
    room = [0.0, 0.0, np.exp(-0.195), np.exp(-0.1), 1.0]
    assert space.room.flatten().tolist() == pytest.approx(room)
    theta = space.project(torch.full_like(u, 9.0), 0.05)
    assert space.decode(theta).flatten().tolist() == pytest.approx([0.05, -0.041, 0.05, 0.05, 0.05])
    small = space.decode(space.project(torch.full_like(u, 0.01), 0.05)).flatten().tolist()
    assert small[3] == pytest.approx(-0.02 + 0.01 * np.exp(-0.1))


def test_tsdf_poisons_for_as_long_as_published() -> None:
    assert make_method("tsdf").poison_steps == 50
    loops = [make_method("tsdf", poison_steps=n).loop(CONFIG, 6, tiny_zoo()).steps for n in (0, 50)]
    assert loops[1] - loops[0] == 50


def test_tsdf_leaves_the_strong_pixels_of_its_first_stage() -> None:
    plain, poisoned = run("tsdf", settings={"poison_steps": 0}), run("tsdf")
    strong = plain.delta.abs() >= 0.040
    assert torch.equal(poisoned.delta[strong], plain.delta[strong])
    assert not torch.equal(poisoned.delta[~strong], plain.delta[~strong])
    stages = poisoned.history.groupby("step")["model"].agg(set)
    assert stages.iloc[-1] == {"MTCNN"}
    assert stages.iloc[0] == set(tiny_zoo())


def test_tsdf_reaches_its_second_stage_under_every_execution() -> None:
    """Its detector is no generator, to be cast or laid out like one."""
    for execution in (Execution(precision="bf16"), Execution(channels_last=True)):
        poisoned = run("tsdf", keep=False, execution=execution)
        assert set(poisoned.history["model"]) == {"MTCNN", *tiny_zoo()}


def test_found_has_a_feature_stage_and_gradients_of_equal_mass() -> None:
    loop = make_method("found").loop(PerturbationConfig(steps=40), 64, tiny_zoo())
    assert (loop.feature_steps, loop.feature_distance, loop.feature_weight) == (5, "wasserstein", 0)
    history = run("found").history
    push = history["weight"] * history["grad_l1"]
    for _, part in push.groupby(history["step"]):
        assert part.to_numpy() == pytest.approx(part.iloc[0])
    assert not torch.equal(run("found").delta, run("found", settings={"inner": 2}).delta)


def test_wasserstein_by_hand() -> None:
    a, b = torch.tensor([[[0.0, 3.0, 1.0]]]), torch.tensor([[[5.0, 6.0, 8.0]]])
    assert wasserstein(a, b).item() == pytest.approx((5 + 5 + 5) / 3)
    assert wasserstein(a, a[..., [2, 0, 1]]).item() == 0
