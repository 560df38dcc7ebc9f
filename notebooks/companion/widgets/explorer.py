"""The weight-dynamics explorer: turn tau, beta and the rule, see losses, weights and residual."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw
import pandas as pd
from matplotlib.figure import Figure

from aef_core.errors import BadInput
from aef_core.metrics.statistics import late_means
from aef_core.perturbation.store import Run
from companion.plots.style import MODEL_COLOURS
from companion.toy import Game, replay
from companion.widgets.common import View, guarded
from companion.widgets.controls import LABELS, RuleControls, dropdown, rows, slider
from companion.widgets.pictures import weight_picture

RECORDED, LIVE = "recorded run", "live game"
OPEN_LOOP = (
    "Open-loop replay: S is what the recorded run met; another rule would have steered the "
    "perturbation elsewhere."
)
CLOSED_LOOP = (
    "Closed loop: the weights move the perturbation of a toy with four saturating strengths "
    "(companion.toy.Game), not of real generators. Dashed: averaging in the same game."
)


class WeightExplorer(View):
    """Weighting rules by hand: over a recorded run (replay) and over a small live game.

    Parameters
    ----------
    runs : mapping of label to Run
        Recorded runs to replay; with none, only the live game is offered.
    rule, tau, beta
        Where the controls start.

    Attributes
    ----------
    history : DataFrame
        What is drawn now, as `Run.history`.
    """

    title = "weight-dynamics explorer"

    def __init__(
        self, runs: Mapping[str, Run] | None = None, rule: str = "aef", tau: float = 0.1,
        beta: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__()
        self.runs = {label: run.history for label, run in (runs or {}).items()}
        self.history, self.reference = pd.DataFrame(), None
        self._controls(rule, tau, beta)
        self.children = rows(
            (self.source, self.run),
            (self.weigh.rule,),
            (self.weigh.tau, self.weigh.beta),
            (self.imbalance, self.conflict),
            (ipw.Label("generators"), *self.generators.values()),
            self.message,
            self.picture,
            self.caption,
        )
        for control in (self.source, self.run):
            control.observe(self._offer_generators, "value")
        for control in (*self.weigh.all, self.imbalance, self.conflict,
                        *self.generators.values()):  # fmt: skip
            control.observe(self._play, "value")
        self._offer_generators()

    def _controls(self, rule: str, tau: float, beta: float) -> None:
        live = {"continuous_update": True}  # a replay is milliseconds; messages in flight merge
        sources = [RECORDED, LIVE] if self.runs else [LIVE]
        self.source = dropdown("source", "Replay a recorded run, or play a toy game", sources)
        self.run = dropdown("run", "Which recorded run to replay", list(self.runs))
        self.weigh = RuleControls(rule, tau, beta, **live)
        self.imbalance = slider(
            ipw.FloatSlider, "imbalance", "Live game: how many times harder the last generator is "
            "to move than the first", value=4, min=1, max=10, step=0.5, **live
        )  # fmt: skip
        self.conflict = slider(
            ipw.FloatSlider, "cosine", "Live game: cosine between any two gradients; negative is a "
            "conflict", value=-0.1, min=-0.3, max=0.9, step=0.05, **live
        )  # fmt: skip
        names = dict.fromkeys([*MODEL_COLOURS, *(m for h in self.runs.values() for m in h.model)])
        self.generators = {
            name: ipw.Checkbox(
                True, description=name, indent=False, tooltip=f"Does {name} take part?",
                layout=ipw.Layout(width="125px"), style=LABELS,
            )
            for name in names
        }  # fmt: skip

    @property
    def replaying(self) -> bool:
        """Whether a recorded run is the source."""
        return self.source.value == RECORDED

    def chosen(self) -> list[str]:
        """The generators that take part."""
        return [n for n, box in self.generators.items() if box.value and not box.disabled]

    @guarded
    def _offer_generators(self, change: Any = None) -> None:
        """A replay can only use the generators of its run; the game has four of its own."""
        inside = set(self.runs[self.run.value]["model"]) if self.replaying else set(MODEL_COLOURS)
        for name, box in self.generators.items():
            box.disabled = name not in inside
        self.run.disabled = not self.replaying
        self.imbalance.disabled = self.conflict.disabled = self.replaying
        self._update()

    @guarded
    def _play(self, change: Any = None) -> None:
        self._update()

    def _update(self) -> None:
        names, settings = self.chosen(), self.weigh.settings()
        self.weigh.enable()
        if not names:
            raise BadInput("no generator chosen: tick at least one")
        rule = self.weigh.rule.value
        if self.replaying:
            recorded = self.runs[self.run.value]
            self.history = replay(recorded, rule, names, **settings)
            whole = len(names) == recorded["model"].nunique()
            self.reference = recorded if whole else None
        else:
            game = Game(tuple(names), self.imbalance.value, self.conflict.value)
            self.history = game.play(rule, **settings)
            self.reference = game.play("uniform")
        self.redraw()

    def static(self) -> Figure:
        return weight_picture(self.history, self.reference, (
            self.weigh.rule.value, "as recorded" if self.replaying else "averaging"))  # fmt: skip

    def words(self) -> str:
        if self.history.empty:
            return ""
        late = late_means(self.history)
        weakest, heaviest = late["strength"].idxmin(), late["weight"].idxmax()
        even = late["weight"].max() - late["weight"].min() < 0.05
        say = "the weights end almost equal" if even else f"{heaviest} ends with the largest weight"
        residual = (late["strength"] * late["weight"]).sum() - late["strength"].min()
        dashed = " Dashed: with the weights as recorded." if self.reference is not None else ""
        played = f"recorded run {self.run.value!r} under " if self.replaying else ""
        return (
            f"{played}{self.weigh.words()}: {weakest} is interrupted "
            f"least; {say} ({late['weight'].max():.2f}); residual about {residual:.2g}. "
            + (f"{OPEN_LOOP}{dashed}" if self.replaying else CLOSED_LOOP)
        )
