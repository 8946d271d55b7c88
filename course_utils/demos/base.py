"""What all demos are made of.

Every demo comes in three layers: a pure ``compute_...`` function that turns settings into numbers, a ``draw_...``
function that puts these numbers on a matplotlib figure, and a view: ``..._demo`` with ipywidgets, ``..._still`` with a
few settings side by side for those who have no widgets or read the notebook on paper. Only the views need a notebook.

A demo never brings its own quantizer along: it shows the functions that it is handed, the student's. These may not be
written yet, or wrong: then `live` puts what is the matter in the picture's place, and the controls stay alive.

Stands on matplotlib, Pillow and torch.
"""

from __future__ import annotations

import base64
import html
import io
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

__all__ = ["Stage", "drawable", "error_tag", "image_tag", "live"]

LIBRARIES = (str(Path(__file__).parents[1]), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
"""Folders whose functions are not the student's: the kit's own and those of all that is installed."""


def image_tag(figure: Figure, alternative: str) -> str:
    """A figure as an HTML image that needs no file, with its text alternative."""
    canvas = FigureCanvasAgg(figure)  # savefig would look for a backend and lay the figure out anew
    canvas.draw()
    return _canvas_tag(canvas, alternative)


def live(picture: Any, make: Callable[[], str]) -> Callable[..., None]:
    """What is called when a control moves: puts the HTML that ``make`` gives into the widget ``picture``, or else what
    was raised, as `error_tag`."""

    def update(_: Any = None) -> None:
        try:
            picture.value = make()
        except Exception as error:  # the student's, or from drawing what they returned
            picture.value = error_tag(error)

    return update


def error_tag(error: Exception) -> str:
    """What was raised, as HTML, and where in the student's cells; or that it came of what their functions returned."""
    told = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(("<", *LIBRARIES))]
    if frames:
        where = f"Raised in {html.escape(frames[-1].name)}, line {frames[-1].lineno} of its cell."
    else:
        where = "Your functions ran; what they returned cannot be shown."
    return f"<p>{told}</p><p>{where}</p>"


def drawable(answer: Any, shape: Sequence[int], function: Any) -> Tensor:
    """What a student's function returned, detached, if it can be drawn.

    Raises:
        ValueError: if it is no tensor of this shape, or not all of it is finite; names the function.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if not isinstance(answer, Tensor):
        raise ValueError(f"{name} returned {'None' if answer is None else type(answer).__name__}, not a tensor")
    if answer.shape != tuple(shape):
        raise ValueError(f"{name} returned a tensor of shape {tuple(answer.shape)}, not {tuple(shape)}")
    answer = answer.detach()
    if bad := int((~answer.isfinite()).sum()):
        raise ValueError(f"{name} returned NaN or infinity for {bad} of {answer.numel()} values")
    return answer


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
