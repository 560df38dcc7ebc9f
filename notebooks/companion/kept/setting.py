"""The strip at the top of a notebook: which setting its numbers belong to."""

import pandas as pd

from companion.kept.published import AEF, STEPS
from companion.kept.store import Kept
from companion.studies.study import Lab


def strip(runs: Kept, lab: Lab, minutes: int) -> pd.DataFrame:
    """One row, that of AEF: the same in every notebook that shows these kept runs.

    Parameters
    ----------
    runs : Kept
        With the runs of AEF among them; KeyError without.
    minutes : int
        What the notebook takes in profile quick, on two CPU cores, the first time.

    Returns
    -------
    DataFrame with columns profile, size (of a face), optimised on and judged on (faces), steps,
    tau (in units of S), seeds, minutes.
    """
    made = runs[AEF, 0].record
    row = {
        "profile": lab.profile.name,
        "size": f"{lab.test.images.shape[-1]} pixels",
        "optimised on": made["faces"],
        "judged on": len(lab.test),
        "steps": f"{made['scheduled']} of {STEPS}",
        "tau": made["settings"]["tau"],
        "seeds": ", ".join(str(seed) for label, seed in sorted(runs) if label == AEF),
        "minutes": minutes,
    }
    return pd.DataFrame([row], index=[AEF])
