"""What all views share: a picture, a caption, a line for errors, and a stored fallback."""

import base64
import html
import io
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import ipywidgets as ipw
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aef_core.errors import AEFError

WIDTH = 880  # CSS pixels of a view
DPI = 200
_drawing = threading.RLock()  # matplotlib is not made for threads


class Stopped(Exception):
    """Raised out of an optimisation that a view was asked to stop; its state is kept."""


def new_figure(width: float, height: float) -> Figure:
    """A figure outside pyplot: it shows nothing by itself and leaves no state behind."""
    return Figure(figsize=(width, height), dpi=DPI, layout="none")


def png(figure: Figure) -> bytes:
    """The figure as it stands, at a fixed size: pictures do not jump when a control moves."""
    with _drawing:
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
        return buffer.getvalue()


class View(ipw.VBox):
    """Controls above a picture, words below; a subclass says how to draw.

    In a live notebook it is a widget; in a stored one, where no kernel answers, the picture it had
    when the cell was run takes its place: both travel in one output.
    """

    title = "view"

    def __init__(self) -> None:
        super().__init__()
        self.picture = ipw.Image(format="png", layout=ipw.Layout(width="100%"))
        self.caption, self.message = ipw.HTML(), ipw.HTML()
        self.layout.max_width = f"{WIDTH}px"

    def static(self) -> Figure:
        """The present picture as a matplotlib figure."""
        raise NotImplementedError

    def words(self) -> str:
        """What the picture says, one or two plain sentences."""
        return ""

    def redraw(self) -> None:
        """Draw the picture and its caption again."""
        with _drawing:
            self.picture.value = png(self.static())
        # no tooltip on the picture: ipywidgets 8 then fails to show it; the caption says the same
        self.caption.value = f"<p style='line-height:1.4'>{html.escape(self.words())}</p>"

    def say(self, text: str, error: bool = False) -> None:
        """A line below the controls, read out by screen readers; errors in red, with the word."""
        style, role = ("color:#b00020", "alert") if error else ("color:inherit", "status")
        words = html.escape(f"Error: {text}" if error else text)
        self.message.value = f"<div role='{role}' style='{style}'>{words}</div>" if text else ""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = f"{self.title} (controls need a running kernel): {self.words()}"
        if self.picture.value:
            bundle["image/png"] = base64.b64encode(self.picture.value).decode()
        return bundle


def guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """A callback whose errors appear in its view instead of vanishing in a log."""

    @wraps(callback)
    def safe(self: View, *args: Any) -> None:
        try:
            callback(self, *args)
        except AEFError as error:
            self.say(str(error), error=True)
        except Exception as error:
            self.say(f"{type(error).__name__}: {error}", error=True)
            raise
        else:
            if self.message.value.startswith("<div role='alert'"):
                self.say("")

    return safe


def duration(seconds: float) -> str:
    """Seconds, or minutes where they are many."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
