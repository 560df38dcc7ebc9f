"""The figure of the ledger of claims."""

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def tally_bar(tally: pd.Series) -> Figure:
    """How many claims came out how, as one bar.

    Parameters
    ----------
    tally : Series of word to count
        From `claims.tally`.
    """
    palette = sns.color_palette("colorblind")
    colours = (*(palette[i] for i in (2, 8, 3, 5)), "0.6", "0.85")
    shades = dict(zip(tally.index, colours, strict=True))
    fig, ax = plt.subplots(figsize=(7.6, 1.1))
    start = 0
    for word, count in tally.items():
        if count:
            ax.barh(0, count, left=start, color=shades[word], label=word, edgecolor="white")
            ax.text(start + count / 2, 0, str(count), ha="center", va="center")
        start += count
    ax.set(yticks=[], xlim=(0, start), xlabel="claims")
    ax.spines["left"].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.1), fontsize=8)
    return fig
