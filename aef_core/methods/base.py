"""What every method has in common: settings of the one loop, and a weighting rule."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from aef_core.errors import BadInput
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.budgets import BOX
from aef_core.perturbation.execution import PLAIN, Execution
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.weighting import Weighting, make_rule

FEATURE_STEP = 0.6  # cost of a step on features alone: the encoders are the larger half


@dataclass
class Method:
    """How it sets the loop, which rule weighs the generators, what it adds.

    Its dataclass fields are its own settings, with the paper's values as defaults. A method that
    the loop alone cannot express overrides `steps`.

    Attributes
    ----------
    name : str
        Its key in `METHODS`.
    rule : str
        Name of its weighting rule.
    idea : str
        One sentence for tables.
    """

    name: ClassVar[str]
    rule: ClassVar[str] = "uniform"
    idea: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """All its settings, for a run's config."""
        return asdict(self)

    def cost(self, zoo: Zoo) -> float:
        """Computation of one of its steps, in plain steps.

        A plain step takes every generator once forward and backward on a batch.
        """
        return 1.0

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        """The loop's settings for this method, from the caller's and the number of faces.

        Methods are compared at equal computation: `config.steps` plain steps buy as many steps of
        this method as they pay for, at least one.
        """
        return replace(config, steps=max(1, round(config.steps / self.cost(zoo))))

    def weighting(self) -> Weighting:
        """A fresh weighting rule, with this method's settings."""
        return make_rule(self.rule)

    def steps(
        self,
        problem: Problem,
        config: PerturbationConfig,
        state: State | None = None,
        execution: Execution = PLAIN,
    ) -> Iterator[State]:
        """The states of the optimisation, one after every step.

        Parameters
        ----------
        problem : Problem
        config : PerturbationConfig
            What `loop` returned.
        state : State, optional
            Where an earlier call stopped.
        execution : Execution
        """
        return perturb(problem, self.weighting(), config, state, execution)


class RuleMethod(Method):
    """A bare weighting rule as a method: the loop exactly as the caller's config sets it."""

    idea = "one weighting rule in the loop as it is set"

    def __init__(self, rule: Weighting) -> None:
        self._rule = rule
        self.name = self.rule = rule.name

    def settings(self) -> dict[str, Any]:
        return self._rule.settings()

    def weighting(self) -> Weighting:
        return make_rule(self.rule, **self.settings())


def passes_over(n: int, config: PerturbationConfig, passes: int) -> int:
    """Steps in which every one of n faces is seen `passes` times."""
    return passes * math.ceil(n / config.batch)


def refuse_budget(name: str, problem: Problem) -> None:
    """For a method that brings a budget of its own (ValueError if it is given another)."""
    if problem.budget != BOX:
        raise BadInput(f"{name} has a budget of its own: leave out budget {problem.budget.name!r}")
