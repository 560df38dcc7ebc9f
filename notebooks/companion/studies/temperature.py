"""AEF's temperature, chosen on a slice of the training faces."""

import pandas as pd

from aef_core.metrics import Evaluator
from companion.studies.study import Lab, sweep

HELD_OUT = 0.25  # of the training faces


def sweep_on_slice(lab: Lab) -> pd.DataFrame:
    """`study.sweep` over the profile's temperatures within the training faces.

    Optimised on the first three quarters of them, judged on the last quarter; seed 0.
    """
    hold = max(1, round(HELD_OUT * len(lab.train)))
    judge = Evaluator(lab.zoo, lab.train[-hold:])
    return sweep(lab.zoo, lab.train[:-hold], judge, lab.config, "tau", lab.profile.taus)


def choose_tau(lab: Lab) -> float:
    """The temperature whose worst generator has the highest mean L2_mask on a slice of `lab.train`.

    The evaluation faces stay unseen: a setting chosen on them would be judged too kindly.
    """
    return float(sweep_on_slice(lab).groupby("tau")["l2_mask"].min().idxmax())
