"""What every method has in common: settings of the one loop, and a weighting rule."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from aef_core.errors import BadInput
from aef_core.perturbation import PerturbationConfig, State, perturb
from aef_core.perturbation.budgets import BOX
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.registry import Settings
from aef_core.weighting import RULES, Weighting, make_rule

FEATURE_STEP = 0.6  # cost of a step on features alone: the encoders are the larger half
# one perturbation for all faces, pushing outputs and not features: what most methods do
OUTPUTS_ALONE = {"feature_weight": 0.0, "feature_steps": 0, "universal": True}


@dataclass
class Method(Settings):
    """A method: how it sets the loop, and which rule weighs the generators.

    Its dataclass fields are its settings, with the paper's values as defaults; those that its rule
    has, too, go to the rule. A value out of range raises ValueError. A method that the loop alone
    cannot express overrides `steps`.
    """

    name: ClassVar[str]  # its key in `METHODS`
    rule: ClassVar[str] = "uniform"  # its rule's key in `RULES`
    fixed: ClassVar[Mapping[str, Any]] = {}  # settings of the loop that no caller can change
    # the loop's (`inner`: feature steps before each step), where a method has them as settings
    inner = diversity = feature_weight = None

    def cost(self, zoo: Zoo) -> float:
        """What one of its steps costs; every generator once forward and backward costs 1."""
        return 1 + FEATURE_STEP * (self.inner or 0)

    def loop(self, config: PerturbationConfig, n: int, zoo: Zoo) -> PerturbationConfig:
        """The loop's settings for this method, from the caller's and the number of faces.

        Methods are compared at equal computation: `config.steps` steps of cost 1 buy as many steps
        of this method as they pay for, at least one.
        """
        steps = max(1, round(config.steps / self.cost(zoo)))
        own = {"steps": steps, "feature_steps": self.inner, "diversity": self.diversity}
        own["feature_weight"] = self.feature_weight
        given = {name: value for name, value in own.items() if value is not None}
        return replace(config, **(given | self.fixed))

    def weighting(self) -> Weighting:
        """A fresh weighting rule, with this method's settings."""
        known = {f.name for f in fields(RULES[self.rule]) if f.init}
        return make_rule(self.rule, **{k: v for k, v in self.settings().items() if k in known})

    def steps(
        self, problem: Problem, config: PerturbationConfig, state: State | None = None
    ) -> Iterator[State]:
        """The state after every step. `config` is from `loop`, `state` where to continue."""
        return perturb(problem, self.weighting(), config, state)


class RuleMethod(Method):
    """A bare weighting rule as a method: the loop exactly as the caller's config sets it."""

    def __init__(self, rule: Weighting) -> None:
        self._rule = rule
        self.name = self.rule = rule.name

    def settings(self) -> dict[str, Any]:
        return self._rule.settings()


def refuse_budget(name: str, problem: Problem) -> None:
    """Raise ValueError if a method that brings a budget of its own is given another."""
    if problem.budget != BOX:
        raise BadInput(f"{name} has a budget of its own: leave out budget {problem.budget.name!r}")
