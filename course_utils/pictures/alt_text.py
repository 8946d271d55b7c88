"""Pictures for those who do not see them: what a figure says of itself becomes the text alternative of its image.

JupyterLab shows a matplotlib figure as a bare PNG, of which a screen reader says "image". Where `describe_figures` was
called (`plots.use_course_style` does), it becomes an HTML image with an ``alt`` text instead, with the same pixels.

Stands on matplotlib and IPython.
"""

from __future__ import annotations

import html
import sys

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["describe", "describe_figures"]


def describe(figure: Figure) -> str:
    """A figure in words: its label, if its author gave it one (``figure.set_label``); else title, axes and legend of
    every plot in it. Without dollar signs and line breaks, as it is to be listened to."""
    if figure.get_label():
        return _spoken(figure.get_label())
    plots = [text for text in map(_describe_axes, figure.axes) if text]
    parts = [figure.get_suptitle(), *(dict.fromkeys(plots) if len(plots) != 1 else plots)]
    told = _spoken(". ".join(part for part in parts if part))
    return told if told else f"Picture with {len(figure.axes)} plots and no title"


def _describe_axes(axes: Axes) -> str:
    """What one plot says; nothing for one that has no words."""
    title = " ".join(filter(None, (axes.get_title(side) for side in ("left", "center", "right"))))
    parts = [title or " ".join(text.get_text() for text in axes.texts)]
    parts += [f"{name}: {label}" for name, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())) if label]
    if names := axes.get_legend_handles_labels()[1]:
        parts.append(f"shown: {', '.join(names)}")
    return "; ".join(filter(None, parts))


def _spoken(text: str) -> str:
    return " ".join(text.replace("$", "").split())


def describe_figures() -> None:
    """From now on this notebook shows its figures with their description. Does nothing outside a notebook."""
    ipython = sys.modules.get("IPython")  # a notebook has it already; the grader would pay for the import
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        # takes the place of all other forms: matplotlib's PNG beside ours would double the size of every notebook
        shell.display_formatter.ipython_display_formatter.for_type(Figure, _show)


def _show(figure: Figure) -> None:
    from IPython.core.pylabtools import print_figure
    from IPython.display import display

    told, data = describe(figure), print_figure(figure, base64=True)  # as matplotlib's own backend for notebooks does
    forms = {"text/plain": told}
    if data:  # there is none of an empty figure
        forms["text/html"] = f'<img alt="{html.escape(told)}" src="data:image/png;base64,{data}">'
    display(forms, raw=True)
