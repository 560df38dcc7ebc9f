"""Controls that several views share: a rule with its settings, a generator with its edits."""

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw

from aef_core.perturbation.objective import Zoo
from aef_core.weighting import RULES, make_rule


def wide(**extra: str) -> ipw.Layout:
    """Room for a label and its control side by side."""
    return ipw.Layout(width="380px", **extra)


LABELS = {"description_width": "110px"}


def slider(kind: type, description: str, tooltip: str, **options: Any) -> Any:
    """A labelled slider that acts when let go or on each arrow key."""
    options = {"continuous_update": False, "layout": wide(), "style": LABELS} | options
    return kind(description=description, tooltip=tooltip, **options)


def dropdown(description: str, tooltip: str, options: Any, **more: Any) -> ipw.Dropdown:
    """A labelled choice."""
    more = {"layout": wide(), "style": LABELS} | more
    return ipw.Dropdown(description=description, tooltip=tooltip, options=options, **more)


def rows(*lines: Any) -> list[ipw.Widget]:
    """Each tuple of controls side by side, wrapping on a narrow screen."""
    layout = ipw.Layout(flex_flow="row wrap")
    return [ipw.HBox(line, layout=layout) if isinstance(line, tuple) else line for line in lines]


class RuleControls:
    """A weighting rule with AEF's two settings, `tau` and `beta`; other settings keep defaults."""

    def __init__(self, rule: str, tau: float, beta: float, **options: Any) -> None:
        self.rule = dropdown("rule", "The weighting rule", list(RULES), value=rule)
        self.tau = slider(
            ipw.FloatLogSlider, "tau", "Temperature, in units of S: a difference of tau in S is a "
            "factor e in weight", value=tau, min=-4, max=0, step=0.1, readout_format=".2g",
            **options,
        )  # fmt: skip
        self.beta = slider(
            ipw.FloatSlider, "beta", "Memory of the moving average of S", value=beta, min=0,
            max=0.99, step=0.01, **options,
        )  # fmt: skip
        self.all = (self.rule, self.tau, self.beta)

    def settings(self) -> dict[str, float]:
        """What of tau and beta the chosen rule has."""
        known = make_rule(self.rule.value).settings()
        return {n: getattr(self, n).value for n in ("tau", "beta") if n in known}

    def enable(self, allowed: bool = True) -> None:
        """Open what the rule uses, or nothing."""
        used = self.settings()
        self.rule.disabled = not allowed
        self.tau.disabled = not (allowed and "tau" in used)
        self.beta.disabled = not (allowed and "beta" in used)

    def words(self) -> str:
        """Rule and settings, for a caption."""
        return ", ".join([self.rule.value, *(f"{k} {v:.3g}" for k, v in self.settings().items())])


class EditControls:
    """A generator and one of its edits; `changed` is called once per change of either."""

    def __init__(self, zoo: Zoo, changed: Callable[[Any], None]) -> None:
        self.zoo, self.changed = zoo, changed
        first = next(iter(zoo))
        self.generator = dropdown("generator", "Who forges", list(zoo))
        self.edit = dropdown("edit", "What is forged", list(zoo[first].edits))
        self.generator.observe(self._offer, "value")
        self.edit.observe(changed, "value")

    def _offer(self, change: Any) -> None:
        """The edits of the newly chosen generator; the same edit again where it has it."""
        edits, before = self.zoo[self.generator.value].edits, self.edit.value
        self.edit.unobserve(self.changed, "value")  # one picture, not three
        self.edit.options = list(edits)
        self.edit.value = before if before in edits else edits[0]
        self.edit.observe(self.changed, "value")
        self.changed(change)
