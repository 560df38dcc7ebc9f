"""What a training logged, without the weights that its phases put on the terms."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from companion.training.recipes import RECONSTRUCTION, Phase

WEIGHTED = ("cycle", "identity", "adversarial", "attribute")


def read_log(path: Path, phases: Sequence[Phase]) -> pd.DataFrame:
    """The log of `train_generator`: columns iteration, term, value, phase (its first iteration).

    A term whose weight is 0 at the time is left out. Where a stopped run was resumed, iterations
    that were done twice count once, as they were done last.
    """
    rows: dict[tuple[int, str], dict] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        iteration = entry.pop("iteration")
        phase = [p for p in phases if p.start <= iteration][-1]
        for term, value in entry.items():
            constant = RECONSTRUCTION if term == "reconstruction" else 1.0
            weight = getattr(phase, term) if term in WEIGHTED else constant
            if term != "time" and weight:
                rows[iteration, term] = {
                    "iteration": iteration,
                    "term": term,
                    "value": value / weight,
                    "phase": phase.start,
                }
    return pd.DataFrame(rows.values()).sort_values(["iteration", "term"], ignore_index=True)
