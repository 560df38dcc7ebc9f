"""Every method of the field, in the one loop: a registry from name to recipe.

A method is settings of `perturbation.perturb` and a weighting rule; where that is not enough it
composes the loop (TSDF's second stage), moves another parameter (DWT's bands) or has a loop of its
own (CMUA's fusion).
"""

from dataclasses import fields
from typing import Any

import pandas as pd

from aef_core.faces import FaceBatch
from aef_core.methods.base import Method, run_recipe
from aef_core.methods.cmua import CMUA
from aef_core.methods.dwt import DWT
from aef_core.methods.ensemble import AEF, FOUND, MaxMin
from aef_core.methods.fgsm import FGSM, MIFGSM, PGD
from aef_core.methods.random import Random
from aef_core.methods.search import search_factors
from aef_core.methods.tsdf import TSDF
from aef_core.perturbation import PerturbationConfig
from aef_core.perturbation.objective import Zoo
from aef_core.perturbation.runs import Run
from aef_core.registry import make

__all__ = ["METHODS", "Method", "make_method", "method_table", "protect_with", "search_factors"]

METHODS: dict[str, type[Method]] = {
    "random": Random,
    "fgsm": FGSM,
    "pgd": PGD,
    "mi-fgsm": MIFGSM,
    "cmua": CMUA,
    "found": FOUND,
    "dwt": DWT,
    "tsdf": TSDF,
    "aef": AEF,
    "max-min": MaxMin,
}


def make_method(name: str, **settings: Any) -> Method:
    """A method by name.

    Raises
    ------
    ValueError
        Unknown method, unknown setting or a setting out of range; the message lists what is known.
    """
    return make(METHODS, name, settings)


def protect_with(
    name: str,
    zoo: Zoo,
    faces: FaceBatch,
    config: PerturbationConfig | None = None,
    *,
    keep: bool = True,
    progress: bool = True,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Optimise a perturbation with a published method, or find the run that already did.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    zoo : mapping of name to DeepfakeModel
    faces : FaceBatch
        Faces to optimise on; for a method per image, the faces to protect.
    config : PerturbationConfig, optional
        Budget (eps), step size, batch and seed; `steps` is the computation allowed, in plain steps.
        What the method itself fixes (momentum, feature term and so on) is taken from the method.
    keep, progress, **options
        As in `runs.optimize`: runs are stored, found by their config and resumed. Of the hooks,
        DWT and TSDF's second stage bring their own budget.
    settings : dict, optional
        Settings of the method, e.g. `{"universal": False}`.

    Returns
    -------
    Run
        With delta (RGB, [1 or N, 3, H, W]), history and seconds.

    Raises
    ------
    ValueError
        Unknown method or setting.
    Diverged
        A loss or gradient is not finite.
    """
    method = make_method(name, **(settings or {}))
    return run_recipe(
        method, zoo, faces, config or PerturbationConfig(), keep=keep, progress=progress, **options
    )


def method_table(zoo: Zoo) -> pd.DataFrame:
    """One line per method: idea, weighting rule, cost of a step on this zoo, settings with paper
    values."""
    rows = []
    for name, kind in METHODS.items():
        method = kind()
        said = ", ".join(f"{f.name}={getattr(method, f.name)}" for f in fields(method))
        rows.append({"method": name, "idea": kind.idea, "rule": kind.rule,
                     "cost per step": method.cost(zoo), "settings": said})  # fmt: skip
    return pd.DataFrame(rows).set_index("method")
