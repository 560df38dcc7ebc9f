"""The figure of the kept runs: who has converged."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.plots.style import is_aef, method_colour, method_label


def convergence(curves: pd.DataFrame, settled: pd.DataFrame) -> Figure:
    """Worst (left) and mean (right) interruption against steps; a line a method, faint a seed.

    Parameters
    ----------
    curves, settled : DataFrame
        As of `kept.curves` and `kept.settled`. Dashed: still moving at the end.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.8), sharex=True)
    for ax, measure in zip(axes, ("worst", "mean"), strict=True):
        for (label, seed), line in curves.groupby(["label", "seed"], sort=False):
            aef = is_aef(label)
            style = "-" if settled.loc[label, "settled"] else "--"
            ax.plot(line["step"] + 1, line[measure], style, color=method_colour(label),
                    lw=2.2 if aef else 1.3, alpha=1 if seed == 0 else 0.35, zorder=3 if aef else 2,
                    label=method_label(label) if seed == 0 else None)  # fmt: skip
        ax.set(yscale="log", xlabel="step", ylabel=f"output MSE, {measure} over generators")
    entries, _ = axes[1].get_legend_handles_labels()
    if not settled["settled"].all():
        entries.append(Line2D([], [], color="0.3", ls="--", label="dashed: still moving"))
    axes[1].legend(handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig
