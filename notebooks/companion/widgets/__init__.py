"""Views to explore with: weight dynamics, a live optimisation, before and after, methods.

Each is an ipywidget with labelled controls that work by keyboard, tells errors in place, and
leaves its picture (`.static()`) in a stored notebook.
"""

from companion.widgets.comparer import MethodComparer
from companion.widgets.explorer import WeightExplorer
from companion.widgets.panel import OptimisationPanel
from companion.widgets.viewer import BeforeAfter

__all__ = ["BeforeAfter", "MethodComparer", "OptimisationPanel", "WeightExplorer"]
