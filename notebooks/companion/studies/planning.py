"""The published methods in one table."""

import pandas as pd

from aef_core.methods import PUBLISHED
from aef_core.perturbation.objective import Zoo


def method_table(zoo: Zoo) -> pd.DataFrame:
    """The published methods, one row each: idea, weighting rule, cost of a step on this zoo,
    settings with paper values."""
    rows = []
    for name, kind in PUBLISHED.items():
        method = kind()
        said = ", ".join(f"{key}={value}" for key, value in method.settings().items())
        rows.append({"method": name, "idea": kind.idea, "rule": kind.rule,
                     "cost per step": method.cost(zoo), "settings": said})  # fmt: skip
    return pd.DataFrame(rows).set_index("method")
