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

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["canvas_tag", "image_tag"]


def image_tag(figure: Figure, alternative: str) -> str:
    """A figure as an HTML image that needs no file, with its text alternative."""
    canvas = FigureCanvasAgg(figure)  # savefig would look for a backend and lay the figure out anew
    canvas.draw()
    return canvas_tag(canvas, alternative)


def canvas_tag(canvas: FigureCanvasAgg, alternative: str) -> str:
    """What is drawn on a canvas, as `image_tag`. Where there is little room, as at large zoom, it shrinks to fit."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "png", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    fit = "max-width: 100%; height: auto"
    return f'<img alt="{html.escape(alternative, quote=True)}" src="data:image/png;base64,{data}" style="{fit}">'
