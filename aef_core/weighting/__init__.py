"""Weighting rules: from how far each generator is interrupted to how much it counts.

The paper's rule is in `aef.py`. `losses.py` has rules that see strengths, `dynamics.py` those with
a memory, `gradients.py` those that see gradients, `maxmin.py` ours.

To add a rule, write a dataclass with a `name` and a `__call__` from `Feedback` to weights on the
simplex, and name it in `RULES`; docs/rules.md names its tests.
"""

from typing import Any

from aef_core.registry import make
from aef_core.weighting.aef import AEF
from aef_core.weighting.base import Feedback, Weighting
from aef_core.weighting.dynamics import APGDA, DWA, DWTThreshold, ExponentiatedGradient
from aef_core.weighting.gradients import MGDA, CAGrad, GradNorm, PCGrad, UPGrad
from aef_core.weighting.losses import OHEM, STCH, Focal, KPIFocal, Uniform
from aef_core.weighting.maxmin import MaxMin

__all__ = ["RULES", "Feedback", "Weighting", "make_rule"]

RULES: dict[str, type[Weighting]] = {
    rule.name: rule
    for rule in (Uniform, GradNorm, AEF, Focal, OHEM, DWA, STCH, APGDA, ExponentiatedGradient,
                 DWTThreshold, KPIFocal, MGDA, PCGrad, CAGrad, UPGrad, MaxMin)
}  # fmt: skip


def make_rule(name: str, **settings: Any) -> Weighting:
    """A fresh rule by name (ValueError for an unknown name or setting, or a bad value)."""
    return make(RULES, name, settings, "weighting rule")
