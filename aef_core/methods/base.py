"""What every published method has in common: settings of the one loop, and a weighting rule."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from aef_core.faces import FaceBatch
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.objective import Hooks, Zoo
from aef_core.perturbation.runs import Run, optimize
from aef_core.weighting import Weighting


@dataclass
class Method:
    """A recipe: how it sets the loop, which rule weighs the generators, what it adds.

    Its dataclass fields are its own settings, with the paper's values as defaults. A method that
    the loop alone cannot express overrides `states`.

    Attributes
    ----------
    name : str
        Its key in `METHODS`.
    rule : str
        Name of its weighting rule.
    idea : str
        One line for tables.
    """

    name: ClassVar[str]
    rule: ClassVar[str] = "uniform"
    idea: ClassVar[str]

    def cost(self, zoo: Zoo) -> float:
        """Computation of one of its steps, in plain steps.

        A plain step takes every generator once forward and backward on a batch. `protect_with`
        divides the steps it is given by the cost: methods are compared at equal computation.
        """
        return 1.0

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        """The loop's settings for this method, from the caller's and the number of faces."""
        return replace(config, steps=max(1, round(config.steps / self.cost(zoo))))

    def rule_settings(self) -> dict[str, Any]:
        """Settings of the weighting rule."""
        return {}

    def states(
        self,
        zoo: Zoo,
        faces: FaceBatch,
        rule: Weighting,
        config: PerturbationConfig,
        state: State | None,
        hooks: Hooks,
        *machine: Any,
    ) -> Iterator[State]:
        """The states of the optimisation, one a step; `config` is what `loop` returned.

        `machine` is passed on to `perturb`: how it computes and with which other processes.
        """
        yield from perturb(zoo, faces, rule, config, state, hooks, *machine)

    def recipe(self) -> dict[str, Any]:
        """What a run's config says beyond loop and rule; empty where these say it all."""
        if type(self).states is Method.states:
            return {}
        return {"recipe": {"name": self.name, **asdict(self)}}


def passes_over(n: int, config: PerturbationConfig, passes: int) -> int:
    """Steps in which every one of n faces is seen `passes` times."""
    return passes * math.ceil(n / config.batch)


def run_recipe(
    method: Method, zoo: Zoo, faces: FaceBatch, config: PerturbationConfig, **options: Any
) -> Run:
    """Optimise with a method object; `methods.protect_with` makes it from its name."""
    loop = method.loop(config, len(faces), zoo)
    return optimize(
        zoo, faces, method.rule, loop,
        loop=method.states, recipe=method.recipe(), **options, **method.rule_settings(),
    )  # fmt: skip
