"""The live optimisation panel: start, pause, resume, stop; watch curves and a face as it runs.

The optimisation runs in a thread of its own: PyTorch releases the interpreter while it computes, so
clicks are heard and other cells run meanwhile, in JupyterLab, Notebook and VS Code alike. A task
on the kernel's event loop would stand still whenever a cell runs, and block it at every step.
"""

import threading
import time
from dataclasses import replace
from typing import Any

import ipywidgets as ipw
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.methods import make_method
from aef_core.metrics import Evaluator, l2_mask, protect
from aef_core.perturbation import PerturbationConfig, State
from aef_core.perturbation.objective import Problem, Zoo
from aef_core.runs import find_run, optimize, run_identity
from companion.widgets.common import Stopped, View, duration, guarded
from companion.widgets.controls import LABELS, EditControls, RuleControls, rows, wide
from companion.widgets.pictures import progress_picture
from companion.widgets.viewer import verdict

REDRAW_EVERY = 1.0  # seconds between two pictures


class OptimisationPanel(View):
    """Optimise a universal perturbation by hand; a stopped run is kept and goes on where it was.

    Parameters
    ----------
    zoo : mapping of name to DeepfakeModel
    train : FaceBatch
        Faces to optimise on.
    test : FaceBatch
        Faces to look at.
    config : PerturbationConfig
        Settings of the loop; seed and steps can be changed in the panel.
    rule, tau, beta
        Where the controls start.

    `phase` is "ready", "running", "paused" or "stopping"; `run` is the finished run, or None.
    """

    title = "optimisation panel"

    def __init__(
        self, zoo: Zoo, train: FaceBatch, test: FaceBatch, config: PerturbationConfig,
        rule: str = "aef", tau: float = 0.1, beta: float = 0.9,
    ) -> None:  # fmt: skip
        super().__init__()
        self.zoo, self.train, self.test, self.config = zoo, train, test, config
        self.phase, self.run = "ready", None
        self._history: pd.DataFrame | None = None  # what is drawn: never the arrays being changed
        self._delta: Tensor | None = None
        self._step, self._thread = 0, None
        self._go, self._stop = threading.Event(), threading.Event()
        self.reached = threading.Event()  # set while it is held in a pause
        self._controls(rule, tau, beta)
        self._buttons()
        self.children = rows(
            (self.weigh.rule, ipw.HBox([self.seed, self.steps])),
            (self.weigh.tau, self.weigh.beta),
            (self.forger.generator, self.forger.edit),
            (self.start, self.pause, self.resume, self.stop),
            (self.progress, self.left),
            self.message,
            self.picture,
            self.caption,
        )
        for control in (*self.weigh.all, self.seed, self.steps):
            control.observe(self._look_up, "value")
        self._look_up()

    def _controls(self, rule: str, tau: float, beta: float) -> None:
        self.weigh = RuleControls(rule, tau, beta)
        short = {"layout": ipw.Layout(width="190px"), "style": LABELS}
        self.seed = ipw.BoundedIntText(
            self.config.seed, min=0, max=10**6, description="seed", tooltip="Of the start", **short
        )
        self.steps = ipw.BoundedIntText(
            self.config.steps, min=1, max=10**4, description="steps", tooltip="In all", **short
        )
        self.forger = EditControls(self.zoo, self._show)
        self.progress = ipw.IntProgress(description="step", layout=wide(), style=LABELS)
        self.left = ipw.Label()
        self._judge = Evaluator(self.zoo, self.test[:1])

    def _buttons(self) -> None:
        for name, icon, tooltip in (
            ("start", "play", "Begin, or go on with a stopped run of these settings"),
            ("pause", "pause", "Hold it; nothing is lost"),
            ("resume", "step-forward", "Go on"),
            ("stop", "stop", "End it and keep its state, to go on later"),
        ):
            button = ipw.Button(description=name.capitalize(), icon=icon, tooltip=tooltip,
                                layout=ipw.Layout(width="110px"))  # fmt: skip
            setattr(self, name, button)
        self.start.on_click(self._on_start)
        self.pause.on_click(self._on_pause)
        self.resume.on_click(self._on_resume)
        self.stop.on_click(self._on_stop)

    def chosen(self) -> PerturbationConfig:
        """Settings of the loop as the panel stands."""
        return replace(self.config, seed=self.seed.value, steps=self.steps.value)

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run under way has ended: for scripts and tests, not for cells."""
        if self._thread:
            self._thread.join(timeout)

    @guarded
    def _look_up(self, change: Any = None) -> None:
        """What the store holds of this run: a result, a state to go on from, or nothing."""
        self._step, self._history, self._delta, self.run = 0, None, None, None
        method = make_method(self.weigh.rule.value, **self.weigh.settings())
        identity = run_identity(Problem(self.zoo, self.train), method, self.chosen())
        self.run, state, _ = find_run(identity)
        if self.run:
            self._step, self._delta = self.steps.value, self.run.delta
            self._history = self.run.history
            self.say(f"finished earlier, in {self.run.seconds:.0f} s; found in the store")
        elif state:
            self._take(state)
            self.say(f"stopped earlier at step {state.step}: Start goes on from there")
        else:
            self.say("not run yet: Start begins")
        self._enter("ready")
        self._progress("")
        self.redraw()

    @guarded
    def _on_start(self, _: Any = None) -> None:
        if self._thread and self._thread.is_alive():
            return
        self._go.set()
        self._stop.clear()
        self._enter("running")
        self.say("preparing: what the generators make of the clean faces")
        self._thread = threading.Thread(target=self._work, name="optimisation", daemon=True)
        self._thread.start()

    def _on_pause(self, _: Any = None) -> None:
        self.pause.disabled = True
        self._go.clear()  # heard after the step under way

    def _on_resume(self, _: Any = None) -> None:
        self._enter("running")
        self._go.set()

    def _on_stop(self, _: Any = None) -> None:
        self._enter("stopping")
        self._stop.set()
        self._go.set()

    def _work(self) -> None:
        """The thread: everything that goes wrong in it is shown in the panel."""
        self._drawn, self._paused, self._began = 0.0, 0.0, time.perf_counter()
        self._from = self._step
        try:
            self.run = optimize(
                self.zoo, self.train, self.weigh.rule.value, self.chosen(), progress=False,
                on_step=self._on_step, settings=self.weigh.settings(),
            )  # fmt: skip
            line = f"finished in {self.run.seconds:.0f} s and stored as {self.run.path.name}", False
        except Stopped:
            line = f"stopped at step {self._step} and kept: Start goes on from there", False
        except Exception as error:
            line = str(error) or type(error).__name__, True
        self._progress("")
        self._show()
        self._enter("ready")
        self.say(*line)

    def _on_step(self, state: State) -> None:
        now = time.perf_counter()
        last = state.step == self.steps.value
        if now - self._drawn > REDRAW_EVERY or last:
            self._drawn = now
            self._take(state)
            self.redraw()
        self._step = state.step
        each = (now - self._began - self._paused) / max(1, state.step - self._from)
        left = duration(each * (self.steps.value - state.step))
        self._progress(f"{each:.2g} s a step, about {left} left")
        self.say("")
        if not self._go.is_set() and not last:
            self._hold(state)
        if self._stop.is_set() and not last:
            self._take(state)
            raise Stopped

    def _hold(self, state: State) -> None:
        held = time.perf_counter()
        self._take(state)
        self.redraw()
        self.say(f"paused at step {state.step}")
        self._enter("paused")
        self.reached.set()
        self._go.wait()
        self.reached.clear()
        self._paused += time.perf_counter() - held

    def _take(self, state: State) -> None:
        """Copies of what is drawn: the loop changes its own in place."""
        self._step, self._delta = state.step, state.delta.detach().cpu().clone()
        self._history = pd.DataFrame(state.history)

    def _enter(self, phase: str) -> None:
        """Which buttons and controls make sense in a phase."""
        self.phase = phase
        ready = phase == "ready"
        self.weigh.enable(ready)
        self.seed.disabled = self.steps.disabled = not ready
        self.start.disabled = not ready or self.run is not None
        self.pause.disabled = phase != "running"
        self.resume.disabled = phase != "paused"
        self.stop.disabled = phase not in ("running", "paused")

    def _progress(self, text: str) -> None:
        self.progress.max, self.progress.value = self.steps.value, self._step
        self.left.value = f"{self._step} of {self.steps.value}{f'; {text}' if text else ''}"

    @guarded
    def _show(self, change: Any = None) -> None:
        self.redraw()

    def static(self) -> Figure:
        name, edit = self.forger.generator.value, self.forger.edit.value
        face = self._judge.faces.images
        forged = self._judge.forged(name, edit)
        images = {"original": face, f"{name}: {edit}": forged}
        self._verdict = ""
        if self._delta is not None:
            protected = protect(face, self._delta)
            after = self._judge.forge(protected, name, edit)
            images |= {"protected": protected, "forged after protection": after}
            self._verdict = verdict(l2_mask(forged, after, face).item())
        first = {label: x[0] for label, x in images.items()}
        return progress_picture(self._history, self.steps.value, first)

    def words(self) -> str:
        start = f"{self.weigh.words()}, seed {self.seed.value}"
        return f"{start}: step {self._step} of {self.steps.value}. {self._verdict.capitalize()}"
