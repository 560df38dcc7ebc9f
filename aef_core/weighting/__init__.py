"""Weighting rules: from how far each generator is interrupted to how much it counts.

A rule sees one `Feedback` per step and returns weights on the simplex. It knows nothing of images
or networks. To add one, write a class and a row in `RULES`.

`aef.py`: the paper's rule; `losses.py`: rules that see strengths; `dynamics.py`: those with a
memory; `gradients.py`: rules that see gradients; `maxmin.py`: ours.
"""

from typing import Any

from aef_core.registry import make
from aef_core.weighting.aef import AEF
from aef_core.weighting.base import Feedback, Weighting
from aef_core.weighting.dynamics import APGDA, DWA, DWTThreshold, ExponentiatedGradient
from aef_core.weighting.gradients import MGDA, CAGrad, GradNorm, PCGrad, UPGrad
from aef_core.weighting.losses import OHEM, STCH, Focal, KPIFocal, Uniform
from aef_core.weighting.maxmin import MaxMin

__all__ = [
    "AEF",
    "APGDA",
    "DWA",
    "MGDA",
    "OHEM",
    "RULES",
    "STCH",
    "CAGrad",
    "DWTThreshold",
    "ExponentiatedGradient",
    "Feedback",
    "Focal",
    "GradNorm",
    "KPIFocal",
    "MaxMin",
    "PCGrad",
    "UPGrad",
    "Uniform",
    "Weighting",
    "make_rule",
]

RULES: dict[str, type[Weighting]] = {
    "uniform": Uniform,
    "grad-norm": GradNorm,
    "aef": AEF,
    "focal": Focal,
    "ohem": OHEM,
    "dwa": DWA,
    "stch": STCH,
    "apgda": APGDA,
    "exp-grad": ExponentiatedGradient,
    "dwt-threshold": DWTThreshold,
    "kpi-focal": KPIFocal,
    "mgda": MGDA,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "upgrad": UPGrad,
    "max-min": MaxMin,
}


def make_rule(name: str, **settings: Any) -> Weighting:
    """A fresh rule by name.

    Raises
    ------
    ValueError
        Unknown rule, unknown setting or a setting out of range; the message lists what is known.
    """
    return make(RULES, name, settings, "weighting rule")
