"""Figures in one house style: the common ones here, those of one study in a module of its name."""

from aef_core.plots import balance_bars as interruption_bars
from aef_core.plots import weight_dynamics
from companion.plots import (
    corit,
    csdfd,
    curves,
    diagrams,
    ensemble,
    grids,
    methods,
    stress,
    transfer,
    verdicts,
)
from companion.plots.base import (
    amplified,
    before_after,
    dynamics,
    face_grid,
    gradient_conflicts,
    sweep,
)
from companion.plots.style import save_figure, use_style

__all__ = [
    "amplified",
    "before_after",
    "corit",
    "csdfd",
    "curves",
    "diagrams",
    "dynamics",
    "ensemble",
    "face_grid",
    "gradient_conflicts",
    "grids",
    "interruption_bars",
    "methods",
    "save_figure",
    "stress",
    "sweep",
    "transfer",
    "use_style",
    "verdicts",
    "weight_dynamics",
]
