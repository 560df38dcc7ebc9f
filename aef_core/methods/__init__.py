"""Every method of the field, by name, over the one loop.

The paper's method is in `aef.py`. A weighting rule alone is a method, too; it leaves the loop's
settings to the caller.

To add a method, write a dataclass derived from `Method` in a file of its own and name it in
`PUBLISHED`. Most only fix settings of the loop and name a weighting rule; DWT moves wavelet bands,
TSDF runs the loop twice, CMUA has a loop of its own.
"""

from typing import Any

from aef_core.methods.aef import AEF, MaxMin
from aef_core.methods.base import Method, RuleMethod
from aef_core.methods.cmua import CMUA
from aef_core.methods.dwt import DWT
from aef_core.methods.fgsm import FGSM, MIFGSM, PGD
from aef_core.methods.found import FOUND
from aef_core.methods.random import Random
from aef_core.methods.tsdf import TSDF
from aef_core.registry import make
from aef_core.weighting import RULES, Weighting

__all__ = ["METHODS", "PUBLISHED", "Method", "make_method"]

PUBLISHED: dict[str, type[Method]] = {
    made.name: made for made in (Random, FGSM, PGD, MIFGSM, CMUA, FOUND, DWT, TSDF, AEF, MaxMin)
}
# where a method and its rule share a name, the name is the method's
METHODS: dict[str, type[Method] | type[Weighting]] = PUBLISHED | RULES | PUBLISHED


def make_method(name: str, **settings: Any) -> Method:
    """A method by name, or a weighting rule as a method.

    Raises ValueError for an unknown name or setting, which lists the known ones, or a bad value.
    """
    made = make(METHODS, name, settings)
    if isinstance(made, Weighting):
        return RuleMethod(made)
    made.weighting()  # the rule says so now, not in the middle of a run, if it does not take them
    return made
