"""What the explorer shows: kept runs, and two short ones to replay."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from aef_core.faces import FaceBatch
from aef_core.perturbation.objective import Zoo
from companion import kept
from companion.kept import published
from companion.studies.differences import RANDOM, REFERENCE
from companion.studies.study import open_lab

OWN = "for it alone"
"""Label of the single-model references: each generator's pattern was made for it alone."""
NAMES = {RANDOM: "random signs", REFERENCE: OWN, published.AVERAGING: "averaging",
         published.MAXMIN: "max-min"}  # fmt: skip
SHOWN = (RANDOM, published.AVERAGING, "CMUA", "FOUND", published.TSDF, published.AEF,
         published.MAXMIN)  # fmt: skip
RECORDED = (published.AEF, published.AVERAGING)  # optimised anew: a replay needs every step


@dataclass(frozen=True)
class Show:
    """Everything the page is made of.

    Attributes
    ----------
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces no perturbation was optimised on.
    patterns : dict of method to dict of generator to Tensor, shape [1, 3, H, W]
        What protects a photo from a generator. Universal methods have one pattern for all.
    verdicts : DataFrame
        As from `kept.judged`, methods under the names shown.
    histories : dict of label to DataFrame
        Of recorded runs, as `Run.history`.
    """

    zoo: Zoo
    faces: FaceBatch
    patterns: dict[str, dict[str, Tensor]]
    verdicts: pd.DataFrame
    histories: dict[str, pd.DataFrame]


def gather(profile: str | None = None) -> Show:
    """Judge the kept runs of the methods shown; make the two for replay, or find them.

    Parameters
    ----------
    profile : str, optional
        `AEF_PROFILE` or "quick" by default.
    """
    lab = open_lab(profile)
    first = {key: run for key, run in kept.at_hand(lab).items() if key[1] == 0}
    runs = kept.chosen(first, SHOWN)
    table = kept.judged(runs, lab.evaluator)
    patterns = {NAMES.get(m, m): dict.fromkeys(lab.zoo, runs[m, 0].delta) for m in SHOWN}
    patterns[OWN] = {name: runs[f"{REFERENCE}: {name}", 0].delta for name in lab.zoo}
    table = table.assign(method=table["method"].replace(NAMES))
    made, _ = kept.live(lab, RECORDED)
    histories = {NAMES.get(label, label): made[label, 0].history for label in RECORDED}
    return Show(lab.zoo, lab.test, patterns, table, histories)
