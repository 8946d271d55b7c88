"""The network as a graph: one box a node, replaced ones red and of another shape, dB on the arrows.

A node stands one row below the lowest of those that it takes, so arrows run down; nodes of one row stand side by side.
"""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.profiler.experiment import Layer

__all__ = ["graph_picture", "rows"]

WIDTH, HEIGHT, GAP_X, GAP_Y = 190, 34, 30, 40
"""Of a box and between boxes, in pixels."""

BESIDE = 110  # pixels, for arrows that pass rows by, and what stands at them

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1a1a1a; text-anchor: middle } .db { font-size: 12px; fill: #444 }
.kept { fill: #fff; stroke: #1a1a1a; stroke-width: 1.5 } .replaced { fill: #fbe3d6; stroke: #d55e00; stroke-width: 3 }
.arrow { fill: none; stroke: #666; stroke-width: 1.5; marker-end: url(#tip) }
"""


def rows(layers: list[Layer]) -> dict[str, int]:
    """Node -> row, from 0."""
    found: dict[str, int] = {}
    for layer in layers:  # in the network's order, so what a node takes is there already
        found[layer.name] = 1 + max((found[name] for name in layer.inputs), default=-1)
    return found


def decibels(value: float) -> str:
    if math.isfinite(value):
        return f"{value:.1f} dB"
    return "infinite values" if math.isnan(value) else "no noise" if value > 0 else "no signal"


def graph_picture(layers: list[Layer]) -> str:
    """An SVG picture with a text alternative.

    Args:
        layers: as `Experiment.layers` has them.
    """
    row_of = rows(layers)
    columns: dict[int, list[str]] = defaultdict(list)
    for layer in layers:
        columns[row_of[layer.name]].append(layer.name)
    widest = max(len(names) for names in columns.values())
    # room at the left for arrows that pass rows by
    longest = max((row_of[x.name] - row_of[n] for x in layers for n in x.inputs), default=1)
    margin = 20 + (BESIDE if longest > 1 else 0)
    width = margin + widest * (WIDTH + GAP_X) + BESIDE
    height = 20 + len(columns) * (HEIGHT + GAP_Y)
    place = {
        name: (margin + column * (WIDTH + GAP_X), 10 + row * (HEIGHT + GAP_Y))
        for row, names in columns.items()
        for column, name in enumerate(names)
    }
    ratio = {layer.name: layer.sqnr for layer in layers}
    parts = []
    for layer in layers:
        x, y = place[layer.name]
        for name in layer.inputs:
            if (apart := row_of[layer.name] - row_of[name]) > 1:
                parts.append(_arrow_past_rows(*place[name], x, y, apart, decibels(ratio[name])))
                continue
            above, beside = place[name], x + WIDTH / 2 + (34 if place[name][0] == x else 50)
            path = f"M{above[0] + WIDTH / 2} {above[1] + HEIGHT}L{x + WIDTH / 2} {y}"
            parts.append(f'<path class="arrow" d="{path}"/>')
            parts.append(f'<text class="db" x="{beside}" y="{y - 14}">{decibels(ratio[name])}</text>')
    for layer in layers:
        parts.append(_box(layer, *place[layer.name]))
    last = layers[-1]
    x, y = place[last.name]
    parts.append(f'<text class="db" x="{x + WIDTH / 2}" y="{y + HEIGHT + 18}">{decibels(last.sqnr)}</text>')
    replaced = sum(bool(layer.layer) for layer in layers)
    told = "; ".join(f"{x.name}{' (replaced)' if x.layer else ''} {decibels(x.sqnr)}" for x in layers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="graph-title graph-told">'
        f'<title id="graph-title">The recreated network: {len(layers)} nodes, {replaced} replaced</title>'
        f'<desc id="graph-told">Signal-to-quantization-noise ratio of each output: {escape(told)}</desc>'
        f"<style>{STYLE}</style>"
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="#666"/></marker></defs>{"".join(parts)}</svg>\n'
    )


def _arrow_past_rows(x0: float, y0: float, x1: float, y1: float, apart: int, told: str) -> str:
    """At the left of the boxes, or at the right where it comes from there."""
    away, anchor = 20 + min(apart, 8) * 5, "end"
    if x0 > x1:
        side, x0, x1, anchor = x0 + WIDTH + away, x0 + WIDTH, x1 + WIDTH, "start"
    else:
        side = x0 - away
    y0, y1 = y0 + HEIGHT / 2, y1 + HEIGHT / 2
    # the middle of the curve, and a little beside it
    x, y = (x0 + 6 * side + x1) / 8 + (6 if anchor == "start" else -6), (y0 + y1) / 2 + 4
    return (
        f'<path class="arrow" d="M{x0} {y0}C{side} {y0} {side} {y1} {x1} {y1}"/>'
        f'<text class="db" x="{x}" y="{y}" style="text-anchor: {anchor}">{told}</text>'
    )


def _box(layer: Layer, x: float, y: float) -> str:
    name = layer.layer or layer.name
    name = name if len(name) <= 24 else f"{name[:10]}…{name[-12:]}"
    if layer.layer:  # six corners: the shape tells, too
        corners = [(12, 0), (WIDTH - 12, 0), (WIDTH, HEIGHT / 2), (WIDTH - 12, HEIGHT), (12, HEIGHT), (0, HEIGHT / 2)]
        points = " ".join(f"{x + dx},{y + dy}" for dx, dy in corners)
        shape = f'<polygon class="replaced" points="{points}"/>'
    else:
        shape = f'<rect class="kept" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
    stands_for = f" instead of {layer.layer} to {layer.name}" if layer.layer not in ("", layer.name) else ""
    title = f"<title>{escape(layer.layer or layer.name)}{escape(stands_for)}: {decibels(layer.sqnr)}</title>"
    return f'<g>{title}{shape}<text x="{x + WIDTH / 2}" y="{y + HEIGHT / 2 + 5}">{escape(name)}</text></g>'
