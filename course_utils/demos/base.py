"""What all demos are made of.

Every demo comes in three layers: a pure ``compute_...`` function that turns settings into numbers, a ``draw_...``
function that puts these numbers on a matplotlib figure, and a view: ``..._demo`` with ipywidgets, ``..._still`` with a
few settings side by side for those who have no widgets or read the notebook on paper. Only the views need a notebook.

A demo never brings its own quantizer along: it shows the functions that it is handed, the student's.

Stands on matplotlib and Pillow.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["Stage", "error_tag", "image_tag"]


def image_tag(figure: Figure, alternative: str) -> str:
    """A figure as an HTML image that needs no file, with its text alternative."""
    canvas = FigureCanvasAgg(figure)  # savefig would look for a backend and lay the figure out anew
    canvas.draw()
    return _canvas_tag(canvas, alternative)


def error_tag(error: Exception) -> str:
    """What a student's function raised, as HTML in the picture's place: so the controls stay alive."""
    return f"<p><b>{type(error).__name__}</b>: {html.escape(str(error))}</p>"


class Stage:
    """A figure that is drawn once, on which a few parts change: only these are drawn anew, over a copy of all else.

    Attributes:
        axes: the figure's, in the order of their making.
    """

    def __init__(self, figure: Figure) -> None:
        self.canvas, self.axes = FigureCanvasAgg(figure), figure.axes

    def keep(self) -> None:
        """Draws the figure as it is: what `image` puts parts on from now on."""
        self.canvas.draw()
        self._kept = self.canvas.copy_from_bbox(self.canvas.figure.bbox)

    def image(self, parts: Iterable[Artist], alternative: str, *, stay: Iterable[Artist] = ()) -> str:
        """The figure with these parts, as `image_tag`; the parts are taken off again, but for those that ``stay``."""
        self.canvas.restore_region(self._kept)
        for part in parts:
            part.axes.draw_artist(part)
            part.remove()
        for part in stay:
            part.axes.draw_artist(part)
        return _canvas_tag(self.canvas, alternative)


def _canvas_tag(canvas: FigureCanvasAgg, alternative: str) -> str:
    """What is drawn on a canvas, as `image_tag`. Where there is little room, as at large zoom, it shrinks to fit."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "png", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    fit = "max-width: 100%; height: auto"
    return f'<img alt="{html.escape(alternative, quote=True)}" src="data:image/png;base64,{data}" style="{fit}">'
