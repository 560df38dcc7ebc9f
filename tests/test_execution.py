"""Memory, precision and layout: results to rounding, one line when memory runs out."""

from dataclasses import replace

import pytest
import torch

from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.execution import PLAIN, Execution, OutOfMemory
from aef_core.perturbation.objective import Objective, Problem
from aef_core.runs import optimize
from aef_core.weighting import make_rule
from companion.studies.robustness import Expectation

from .conftest import make_faces, tiny_zoo
from .test_loop_traces import toys

CONFIG = PerturbationConfig(steps=2, step_size=0.01, batch=4)
RESULT: dict[str, State] = {}


def two() -> dict:
    zoo = tiny_zoo()
    return {name: zoo[name] for name in ("AttGAN", "HiSD")}


def run(execution: Execution, config: PerturbationConfig = CONFIG) -> State:
    rule = make_rule("aef", tau=0.001)
    *_, last = perturb(Problem(two(), make_faces(), execution=execution), rule, config)
    return last


def strengths(state: State) -> torch.Tensor:
    return torch.tensor([row["strength"] for row in state.history])


@pytest.mark.parametrize("change", [{}, {"universal": False}, {"feature_steps": 1}])
def test_pieces_of_a_batch_add_up_to_the_batch(change: dict) -> None:
    config = replace(CONFIG, **change)
    whole, pieces = run(PLAIN, config), run(Execution(micro_batch=3), config)
    torch.testing.assert_close(strengths(pieces), strengths(whole), rtol=1e-3, atol=0)
    assert (pieces.delta != whole.delta).float().mean() < 0.01


class Noise:
    """A random transformation that draws as many numbers as there are pixels."""

    name = "noise"

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + 0.2 * torch.rand(x.shape, generator=generator) * x


@pytest.mark.parametrize("transform", [Noise(), Expectation()])
@pytest.mark.parametrize("change", [{}, {"universal": False}, {"feature_steps": 1}])
def test_the_draw_of_a_step_does_not_depend_on_the_micro_batch(
    transform: object, change: dict
) -> None:
    """In float64, where rounding cannot be taken for another draw: one hash, one delta."""
    config = replace(CONFIG, steps=3, diversity=0.5, **change)
    faces = make_faces(size=16)
    faces = replace(faces, images=faces.images.double())
    problem, deltas = Problem(toys("low", "high"), faces, transform=transform), []
    for size in (0, 1, 3):
        pieces = replace(problem, execution=Execution(micro_batch=size))
        *_, last = perturb(pieces, make_rule("aef", tau=0.001), config)
        deltas.append(last.delta)
    for pieces in deltas[1:]:
        torch.testing.assert_close(pieces, deltas[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("execution", "rtol"),
    [
        (Execution(cache="cpu"), 0.0),
        (Execution(cache="float16"), 0.05),
        (Execution(channels_last=True), 1e-3),
        (Execution(precision="bf16"), 0.5),
    ],
)
def test_other_ways_to_the_same_result(execution: Execution, rtol: float) -> None:
    ours, plain = strengths(run(execution)), strengths(run(PLAIN))
    torch.testing.assert_close(ours, plain, rtol=rtol, atol=0 if rtol == 0 else 1e-6)
    if execution.identity():  # what is part of a run's identity changes its numbers
        assert not torch.equal(ours, plain)


def test_cuda_multiplies_in_ieee_float32_unless_asked_and_only_during_a_step() -> None:
    matmul, cuda = torch.backends.cuda.matmul, torch.device("cuda")
    before = matmul.fp32_precision
    for execution, wanted in ((PLAIN, "ieee"), (Execution(precision="tf32"), "tf32")):
        with execution.applied(cuda):
            assert matmul.fp32_precision == wanted
        assert matmul.fp32_precision == before


def test_the_given_generators_stay_as_they_are() -> None:
    zoo = two()
    prepared = Execution(channels_last=True).prepared(zoo)
    kernel = zoo["AttGAN"].enc_layers[1].layers[0].weight
    assert not kernel.is_contiguous(memory_format=torch.channels_last)
    assert prepared["AttGAN"] is not zoo["AttGAN"]
    assert Execution().prepared(zoo) == zoo
    halved = Execution(precision="bf16").prepared(zoo)["AttGAN"]
    assert halved.enc_layers[1].layers[0].weight.dtype == torch.bfloat16
    assert kernel.dtype == torch.float32
    attributes = torch.zeros(1, 13)
    asked = halved.conditions(attributes, "Male"), zoo["AttGAN"].conditions(attributes, "Male")
    assert torch.equal(*asked)


def test_a_detector_stays_as_it_is() -> None:
    """TSDF's second stage has one in the place of a zoo."""
    detector = {"MTCNN": torch.nn.Conv2d(3, 3, 1)}
    for execution in (Execution(channels_last=True), Execution(precision="bf16")):
        assert execution.prepared(detector) == detector


def test_only_what_changes_results_is_part_of_a_run() -> None:
    assert Execution(micro_batch=2, cache="cpu", channels_last=True).identity() == {}
    assert Execution(cache="float16").identity() == {"execution": {"cache": "float16"}}
    assert Execution(precision="bf16").identity() == {"execution": {"precision": "bf16"}}


def test_a_run_is_found_again_whatever_its_pieces() -> None:
    faces = make_faces()
    first = optimize(two(), faces, config=CONFIG, progress=False)
    again = optimize(two(), faces, config=CONFIG, progress=False, execution=Execution(3))
    assert again.path == first.path
    assert torch.equal(again.delta, first.delta)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"micro_batch": -1}, "micro_batch must be 0 or more, got -1"),
        ({"cache": "disk"}, "cache must be one of float32, float16, cpu, got 'disk'"),
        ({"precision": "fp8"}, "precision must be one of float32, tf32, bf16, got 'fp8'"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Execution(**settings)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        MemoryError(),
    ],
)
def test_memory_running_out_names_the_settings(error: Exception) -> None:
    def strength(*_: object) -> None:
        raise error

    problem = Problem(two(), make_faces(), objective=Objective(strength=strength))
    with pytest.raises(OutOfMemory, match="a smaller micro_batch, or a cache in float16"):
        next(perturb(problem, make_rule("aef"), CONFIG))


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shape"), PLAIN.applied(torch.device("cpu")):
        raise RuntimeError("shape mismatch")
