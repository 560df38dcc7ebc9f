"""The published methods in one table."""

import pandas as pd

from aef_core.methods import PUBLISHED
from aef_core.perturbation.objective import Zoo

IDEAS = {
    "random": "random signs at the bound: the floor under every number",
    "fgsm": "one step to the bound along the sign of the summed gradient",
    "pgd": "iterated FGSM: small sign steps, no memory",
    "mi-fgsm": "PGD with momentum 1 over normalised gradients",
    "cmua": "per-image steps, each fused over the batch and into one pattern at once",
    "found": "a stage on features, then gradients of equal mass",
    "dwt": "wavelet bands of the chroma channels, threshold weights",
    "tsdf": "feature steps and AEF weights, then detector poison in weak pixels",
    "aef": "softmax weights of the smoothed losses, least interrupted first",
    "max-min": "ours: worst case relative to single-model references, with integral",
}


def method_table(zoo: Zoo) -> pd.DataFrame:
    """The published methods, one row each: idea, weighting rule, cost of a step on this zoo,
    settings with paper values."""
    rows = []
    for name, kind in PUBLISHED.items():
        method = kind()
        said = ", ".join(f"{key}={value}" for key, value in method.settings().items())
        idea = IDEAS.get(name, kind.__doc__.splitlines()[0])
        rows.append({"method": name, "idea": idea, "rule": kind.rule,
                     "cost per step": method.cost(zoo), "settings": said})  # fmt: skip
    return pd.DataFrame(rows).set_index("method")
