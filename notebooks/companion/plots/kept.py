"""The figure of the kept runs: who has converged."""

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def convergence(curves: pd.DataFrame, settled: pd.DataFrame) -> Figure:
    """Worst (left) and mean (right) interruption against steps; a line a method, faint a seed.

    Parameters
    ----------
    curves, settled : DataFrame
        As of `kept.curves` and `kept.settled`. Dashed: still moving at the end.
    """
    labels = list(dict.fromkeys(curves["label"]))
    colours = dict(zip(labels, sns.color_palette("husl", len(labels)), strict=True))
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 3.8), sharex=True)
    for ax, measure in zip(axes, ("worst", "mean"), strict=True):
        for (label, seed), line in curves.groupby(["label", "seed"], sort=False):
            style = "-" if settled.loc[label, "settled"] else "--"
            ax.plot(line["step"] + 1, line[measure], style, color=colours[label], lw=1.3,
                    alpha=1 if seed == 0 else 0.35, label=label if seed == 0 else None)  # fmt: skip
        ax.set(yscale="log", xlabel="steps", ylabel=f"output MSE, {measure} over generators")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=8)
    return fig
