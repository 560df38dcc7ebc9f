"""The loops against traces of the public attack code, to 1e-9 in float64.

`data/loop_traces.npz` holds them, on toy generators of two convolutions: feature
tanh(conv(x, A_k) + c), output tanh(conv(feature, B_k)).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aef_core.faces import FaceBatch
from aef_core.methods import make_method
from aef_core.methods.cmua import CMUA
from aef_core.models import ATTRIBUTES, DeepfakeModel
from aef_core.perturbation import PerturbationConfig, State, batch_rows
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Problem

from .conftest import DATA

TRACES = {k: torch.from_numpy(v) for k, v in np.load(DATA / "loop_traces.npz").items()}
IMAGES = TRACES["images"]
NAMES = ("StarGAN", "AttentionGAN", "HiSD", "AttGAN")
CONDITIONS = {"low": -0.5, "high": 0.5}


class Toy(DeepfakeModel):
    """Generator k of the recipe, k from 1; its edits stand for the conditions -0.5 and 0.5."""

    image_size = 16

    def __init__(self, k: int, edits: tuple[str, ...]) -> None:
        super().__init__()
        self.name, self.edits = NAMES[k - 1], edits
        draw = np.random.RandomState(int(TRACES["seed"]) + k).standard_normal
        scale = float(TRACES["scales"][k - 1])
        self.a = nn.Parameter(torch.from_numpy(scale * draw((6, 3, 3, 3))), requires_grad=False)
        self.b = nn.Parameter(torch.from_numpy(scale * draw((3, 6, 3, 3))), requires_grad=False)

    def encode(self, x: Tensor, c: Tensor) -> tuple[Tensor]:
        return (torch.tanh(F.conv2d(x, self.a, padding=1) + c[:, :, None, None]),)

    def decode(self, codes: tuple[Tensor, ...], x: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(F.conv2d(codes[0], self.b, padding=1))

    def conditions(self, attributes: Tensor, edit: str) -> Tensor:
        return torch.full((len(attributes), 1), CONDITIONS[edit], dtype=torch.float64)


def toys(*edits: str) -> dict[str, Toy]:
    """Not in CMUA's order: that is the method's business."""
    return {NAMES[k - 1]: Toy(k, ("high",) if k == 3 else edits) for k in (4, 2, 1, 3)}


def batch(number: int) -> FaceBatch:
    n = len(IMAGES[number])
    attributes = torch.zeros(n, len(ATTRIBUTES), dtype=torch.uint8)
    return FaceBatch(IMAGES[number], attributes, tuple(f"{number}-{i}" for i in range(n)))


def close(ours: Tensor, published: Tensor) -> None:
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-9)


def published_order(name: str, steps: int, **settings: object) -> Iterator[State]:
    """A method's states where step s sees batch s mod 2: the published loader does not shuffle."""
    zoo, method = toys("high"), make_method(name, **settings)
    zoo = {name: zoo[name] for name in NAMES}  # the columns of the traces
    loop = method.loop(PerturbationConfig(batch=4), 8, zoo)
    state = State(TRACES["start"].clone(), torch.zeros_like(TRACES["start"]))
    for step in range(steps):
        until = replace(loop, steps=step + 1)
        (state,) = method.steps(Problem(zoo, batch(step % 2)), until, state)
        yield state


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tsdf", {"poison_steps": 0}),
        ("found", {}),
        ("aef", {}),
    ],
)
def test_loops_are_the_published_ones(name: str, settings: dict) -> None:
    """AEF with feature steps is TSDF's first stage."""
    plain = {"inner": 3} | ({"diversity": 0.0} if name != "aef" else {})
    trace = "found" if name == "found" else "tsdf"
    published = TRACES[f"{trace}.weights_for_next"]
    for step, state in enumerate(published_order(name, 6, **settings, **plain)):
        close(state.delta[0], TRACES[f"{trace}.up"][step])
        rows = state.history[-4:]
        strength = torch.tensor([r["strength"] for r in rows], dtype=torch.float64)
        close(strength, TRACES[f"{trace}.strength"][step])
        if trace == "tsdf":
            used = published[step - 1] if step else torch.full((4,), 0.25)
            close(torch.tensor([r["weight"] for r in rows], dtype=torch.float64), used.double())


class Published(CMUA):
    """CMUA with the published draws, in the order in which they were drawn; keeps every u."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.draws, self.calls = iter(TRACES["cmua.noise"]), []

    def noise(self, x: Tensor, config: PerturbationConfig, purpose: str) -> Tensor:
        _, step, name, _ = purpose.split()
        if name == "HiSD":
            return torch.zeros_like(x)  # it draws none
        return next(self.draws)[batch_rows(len(x), int(step), config)].to(x)

    def _attack(self, *args: Any) -> tuple[Tensor, Any]:
        u, felt = super()._attack(*args)
        self.calls.append(u[0])
        return u, felt


@pytest.mark.parametrize("execution", [PLAIN, Execution(micro_batch=3)])
def test_cmua_is_the_published_one(execution: Execution) -> None:
    """Both batches through seven targets each: u after every one of them."""
    zoo, state = toys("low", "high"), None
    method = Published(factors=dict(zip(NAMES, TRACES["cmua.factors"].tolist(), strict=True)))
    loop = method.loop(PerturbationConfig(batch=4), 8, zoo)
    for step in range(2):
        until = replace(loop, steps=step + 1)
        (state,) = method.steps(Problem(zoo, batch(step), execution=execution), until, state)
        close(state.delta[0], TRACES["cmua.up"][7 * step + 6])
    close(torch.stack(method.calls), TRACES["cmua.up"])
