"""One HTML page on an experiment: accuracies, the SQNR curve, the worst and the best layers, the graph.

The page loads nothing and has no script.
"""

from __future__ import annotations

import io
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from course_utils.pictures.plots import COLOURS
from course_utils.profiler.graph import decibels

if TYPE_CHECKING:
    from course_utils.profiler.experiment import Experiment, Layer

__all__ = ["extremes", "page", "svg", "template"]

SHOWN = 5
"""Of the worst and of the best layers (thesis 5.2)."""


def extremes(layers: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The replaced layers with the lowest and those with the highest change of SQNR, if it is finite: at most five
    each, none twice."""
    ranked = sorted(
        (x for x in layers if x.layer and x.change is not None and math.isfinite(x.change)), key=lambda x: x.change
    )
    count = min(SHOWN, len(ranked) // 2)
    return ranked[:count], ranked[len(ranked) - count :][::-1]


def page(experiment: Experiment, summary: dict, graph: str, section: str = "") -> str:
    """
    Args:
        summary: see `experiment.summary`.
        graph: an SVG picture of the network.
        section: HTML to stand behind the accuracies.
    """
    layers = experiment.layers()
    worst, best = extremes(layers)
    return template("page").render(
        summary=summary,
        layers=layers,
        worst=worst,
        best=best,
        curve=Markup(_curve(layers)),
        graph=Markup(graph),
        section=Markup(section),
        configuration=experiment.configuration.text,
    )


def template(name: str) -> jinja2.Template:
    """The template in ``<name>.html.jinja`` beside this file, which escapes what it is handed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"decibels": decibels, "zip": zip}
    return environment.get_template(f"{name}.html.jinja")


def svg(figure: Figure, told: str) -> str:
    """An SVG picture with a text alternative; the same figure always gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "profile"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    start = text.index("<svg")
    return text[start:].replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1)


def _curve(layers: list[Layer]) -> str:
    """The ratio of every output in the network's order, and by how much it differs from its input's (figure 5.1)."""
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    places = range(len(layers))
    values = [x.sqnr if math.isfinite(x.sqnr) else math.nan for x in layers]
    changes = [math.nan if x.change is None or not math.isfinite(x.change) else x.change for x in layers]
    for axes, numbers, label in ((above, values, "SQNR (dB)"), (below, changes, "change of SQNR (dB)")):
        axes.plot(places, numbers, color=COLOURS["blue"], linewidth=1)
        for replaced, marker, colour in ((True, "D", "vermillion"), (False, "o", "blue")):
            at = [n for n, x in enumerate(layers) if bool(x.layer) == replaced]
            told = "replaced" if replaced else "as in the reference"
            axes.plot(at, [numbers[n] for n in at], marker, color=COLOURS[colour], markersize=5, label=told)
        axes.set_ylabel(label)
        axes.grid(visible=True, alpha=0.3)
    below.axhline(0, color="0.4", linewidth=1)
    below.set_xlabel("node, in the network's order")
    above.legend()
    return svg(figure, "SQNR by node: " + ", ".join(f"{x.name} {decibels(x.sqnr)}" for x in layers))
