"""The method comparer: any methods side by side, against any baseline, with intervals and words."""

from typing import Any

import ipywidgets as ipw
import pandas as pd
from matplotlib.figure import Figure

from aef_core.errors import BadInput
from aef_core.metrics import SUCCESS_THRESHOLD
from aef_core.metrics.statistics import edit_survival, interval
from companion.plots.style import METHOD_LABELS, MODEL_COLOURS
from companion.studies.differences import RANDOM, REFERENCE, balance_draws, difference, verdict
from companion.studies.study import intervals, method_balance
from companion.widgets.common import View, guarded, new_figure
from companion.widgets.controls import LABELS, dropdown, rows, wide

ALL = "all edits"
BETTER = {"min": "higher", "spread": "lower", "mean": "higher", "cv": "lower"}
MEANING = {
    "min": "worst generator",
    "spread": "best minus worst",
    "mean": "mean",
    "cv": "variation",
}


class MethodComparer(View):
    """Methods of a results table: L2_mask per generator, and the paired difference in words.

    Parameters
    ----------
    table : DataFrame
        From `study.compare`: columns method, seed, image, model, edit, l2_mask, excluded, ...

    Attributes
    ----------
    means : DataFrame
        What is drawn: method, model, value, low, high.
    """

    title = "method comparer"

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__()
        self.table, self.means = table, pd.DataFrame()
        methods, seeds = list(table["method"].unique()), list(table["seed"].unique())
        self.methods = ipw.SelectMultiple(
            description="methods", options=methods, value=methods, rows=min(6, len(methods) + 1),
            tooltip="Arrow keys, with Shift or Ctrl for several", layout=wide(), style=LABELS,
        )  # fmt: skip
        self.method = dropdown("compare", "The method to judge", methods, value=methods[-1])
        self.baseline = dropdown("against", "What it is judged against", methods)
        self.measure = dropdown(
            "measure", "Of the mean L2_mask per generator", [(f"{m} ({w})", m) for m, w in
            MEANING.items()]
        )  # fmt: skip
        self.edit = dropdown("edit", "Only one edit", [ALL, *sorted(table["edit"].unique())])
        self.seed = dropdown("seed", "Only one seed", [("all seeds", None), *map(_named, seeds)])
        self.children = rows(
            (self.methods, ipw.VBox([self.method, self.baseline, self.measure])),
            (self.edit, self.seed),
            self.message,
            self.picture,
            self.caption,
        )
        for control in (self.methods, self.method, self.baseline, self.measure, self.edit,
                        self.seed):  # fmt: skip
            control.observe(self._update, "value")
        self._update()

    def chosen(self) -> pd.DataFrame:
        """The rows of the table that edit and seed leave."""
        rows = self.table
        rows = rows if self.edit.value == ALL else rows[rows["edit"] == self.edit.value]
        rows = rows if self.seed.value is None else rows[rows["seed"] == self.seed.value]
        if rows["excluded"].all():
            raise BadInput(f"{self.edit.value}: no generator edits anything here")
        return rows

    @guarded
    def _update(self, change: Any = None) -> None:
        if not self.methods.value:
            raise BadInput("no method chosen: select at least one")
        rows = self.chosen()
        self.means = intervals(rows[rows["method"].isin(self.methods.value)])
        self.redraw()

    def static(self) -> Figure:
        methods, models = list(self.means["method"].unique()), list(self.means["model"].unique())
        figure = new_figure(9.2, 3.6)
        ax = figure.add_axes((0.08, 0.13, 0.905, 0.74))
        wide_bar = 0.8 / len(models)
        for j, model in enumerate(models):
            part = self.means[self.means["model"] == model].set_index("method").reindex(methods)
            places = [i + (j - (len(models) - 1) / 2) * wide_bar for i in range(len(methods))]
            errors = [part["value"] - part["low"], part["high"] - part["value"]]
            ax.bar(places, part["value"], wide_bar * 0.92, yerr=errors, label=model,
                   color=MODEL_COLOURS.get(model, "0.5"),
                   error_kw={"lw": 1, "capsize": 2})  # fmt: skip
        ax.axhline(SUCCESS_THRESHOLD, color="0.3", lw=1, ls=(0, (4, 3)))
        ax.text(len(methods) - 0.52, SUCCESS_THRESHOLD, "interrupted above", fontsize=8, ha="right",
                va="bottom", color="0.3",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        ax.set_xticks(range(len(methods)), [METHOD_LABELS.get(m, m) for m in methods])
        ax.set(ylabel="mean L2_mask", xlim=(-0.5, len(methods) - 0.5))
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="upper center", ncols=len(models), fontsize=9, frameon=False)
        return figure

    def words(self) -> str:
        if self.means.empty:
            return ""
        rows, measure = self.chosen(), self.measure.value
        a, b = self.method.value, self.baseline.value
        values = method_balance(rows)[measure]
        survival = edit_survival(rows, ("method",))["value"]
        if a == b:
            return f"{a}: {measure} {values[a]:.5f}. Choose two methods to compare them."
        if {RANDOM, REFERENCE} <= set(rows["method"]):
            row = difference(rows, a, b).loc[measure]
            word = verdict(row, BETTER[measure])
        else:
            row = interval(balance_draws(rows, a) - balance_draws(rows, b)).loc[measure]
            word = f"no word without the rows of {RANDOM} and {REFERENCE} to measure it by"
        return (
            f"{measure} ({MEANING[measure]}): {a} {values[a]:.5f}, {b} {values[b]:.5f}; difference "
            f"{row['value']:+.5f} [{row['low']:+.5f}, {row['high']:+.5f}], paired on images and "
            f"seeds: {word}. Bars: 95 % intervals over images and seeds. "
            f"Of the edits that work without protection, {survival[a]:.0%} still work under {a}, "
            f"{survival[b]:.0%} under {b}."
        )


def _named(seed: int) -> tuple[str, int]:
    return str(seed), seed
