"""Views to explore with: weight dynamics, a live optimisation, before and after, methods.

Each is an ipywidget with labelled controls that work by keyboard, tells errors in place, and
leaves its picture (`.static()`) in a stored notebook.
"""

from aef_core.widgets.comparer import MethodComparer
from aef_core.widgets.explorer import WeightExplorer
from aef_core.widgets.panel import OptimisationPanel
from aef_core.widgets.viewer import BeforeAfter

__all__ = ["BeforeAfter", "MethodComparer", "OptimisationPanel", "WeightExplorer"]
