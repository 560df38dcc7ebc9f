"""The figure of the ledger of claims."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

# from holds to does not hold, then what says neither
COLOURS = ("#01665e", "#80cdc1", "#8c510a", "#dfc27d", "0.6", "0.85")


def tally_bar(tally: pd.Series) -> Figure:
    """How many claims came out how, as one bar.

    Parameters
    ----------
    tally : Series of word to count
        From `claims.tally`.
    """
    shades = dict(zip(tally.index, COLOURS, strict=True))
    fig, ax = plt.subplots(figsize=(7.6, 1.1))
    start = 0
    for word, count in tally.items():
        if count:
            ax.barh(0, count, left=start, color=shades[word], label=word, edgecolor="white")
            ink = "white" if sum(to_rgb(shades[word])) < 1.5 else "0.1"
            ax.text(start + count / 2, 0, str(count), ha="center", va="center", color=ink)
        start += count
    ax.set(yticks=[], xlim=(0, start), xlabel="number of claims")
    ax.spines["left"].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.1), fontsize=8)
    return fig
