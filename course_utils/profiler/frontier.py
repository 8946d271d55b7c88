"""What a search found: accuracy against bytes, beside the same bits for all layers, as a table and a picture.

Beside what `write_experiment` writes of the chosen network, whose ``configuration.toml`` runs again, the folder holds
``search.toml`` (what was asked), ``frontier.csv``, ``frontier.svg`` and ``sensitivities.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from course_utils.pictures.plots import COLOURS
from course_utils.profiler.comparison import difference
from course_utils.profiler.experiment import Experiment, write_experiment
from course_utils.profiler.page import svg, template
from course_utils.profiler.search import Search, Tried

__all__ = ["HEADINGS", "frontier_rows", "write_search"]

HEADINGS = (
    *("bits everywhere", "bytes", "top-1", "change (points)"),
    *("layer by layer: bytes", "top-1", "change (points)", "gained (points)"),
)
"""Of the table."""


def frontier_rows(found: Search) -> Iterator[tuple[str, ...]]:
    """The table's rows, in words: changes are against the reference, errors are of paired differences."""
    for pair in found.pairs:
        by, error, _ = difference(pair.uniform.outcome, pair.mixed.outcome)
        yield str(pair.bits), *_told(found, pair.uniform), *_told(found, pair.mixed), points(by, error)


def points(by: float, error: float) -> str:
    """A difference of accuracies and its standard error, in percentage points."""
    return f"{100 * by:+.2f} ± {100 * error:.2f}"


def _told(found: Search, tried: Tried) -> tuple[str, str, str]:
    by, error, _ = difference(found.reference, tried.outcome)
    return f"{tried.size:,}", f"{tried.outcome.top1:.2%}", points(by, error)


def write_search(found: Search, experiment: Experiment, folder: Path) -> Path:
    """Writes the folder; see `write_experiment`.

    Args:
        experiment: a run of ``found.configuration``.

    Returns:
        The page.
    """
    drawn = _picture(found)
    section = template("frontier").render(
        found=found,
        images=len(found.reference.first),
        chosen=_told(found, found.chosen),
        headings=HEADINGS,
        rows=list(frontier_rows(found)),
        picture=Markup(drawn),
        layers=[_layer(found, name) for name in found.points],
    )
    page = write_experiment(experiment, folder, section=section)
    (folder / "search.toml").write_text(found.asked.text, encoding="utf-8")
    (folder / "frontier.svg").write_text(drawn, encoding="utf-8")
    _write_table(folder / "frontier.csv", _frontier_table(found))
    _write_table(folder / "sensitivities.csv", _sensitivities(found))
    return page


def _layer(found: Search, name: str) -> tuple[str, int, str, float]:
    """A layer, its weights' bits, their grids in words, and its bytes, as they were chosen."""
    own, options = found.points[name], found.chosen.options[name]
    size = next(point.size for point in own if point.options == options)
    both = len({point.options.per_channel_quant for point in own}) > 1  # a fully connected layer has only one grid
    return name, options.bits_of_weights, "one for each channel" if both and options.per_channel_quant else "one", size


def _write_table(path: Path, rows: Iterable[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _frontier_table(found: Search) -> Iterator[tuple]:
    each = ("bytes", "top1", "change", "standard_error")
    yield "bits", *(f"{way}_{name}" for way in ("uniform", "mixed") for name in each), "gained", "gained_standard_error"
    for pair in found.pairs:
        row: list[object] = [pair.bits]
        for tried in (pair.uniform, pair.mixed):
            row += [tried.size, tried.outcome.top1, *difference(found.reference, tried.outcome)[:2]]
        yield *row, *difference(pair.uniform.outcome, pair.mixed.outcome)[:2]


def _sensitivities(found: Search) -> Iterator[tuple]:
    yield "layer", "weight_bits", "per_channel_quant", "bytes", "divergence", "chosen"
    for name, own in found.points.items():
        for point in own:
            options = point.options
            numbers = (options.bits_of_weights, int(options.per_channel_quant), point.size, point.harm)
            yield (name, *numbers, int(options == found.chosen.options[name]))


def _picture(found: Search) -> str:
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    axes = figure.subplots()
    lines = (
        ("same bits for all layers", "vermillion", "D", "--", [pair.uniform for pair in found.pairs]),
        ("layer by layer", "blue", "o", "-", [pair.mixed for pair in found.pairs]),
    )
    for label, colour, marker, style, tried in lines:
        axes.errorbar(
            [one.size for one in tried],
            [100 * one.outcome.top1 for one in tried],
            [100 * difference(found.reference, one.outcome)[1] for one in tried],
            color=COLOURS[colour], marker=marker, linestyle=style, markersize=6, capsize=3, linewidth=1.2, label=label,
        )  # fmt: skip
    for pair in found.pairs:
        at = (pair.uniform.size, 100 * pair.uniform.outcome.top1)
        axes.annotate(f"{pair.bits} bits", at, (8, -12), textcoords="offset points", fontsize=9)
    chosen = found.chosen
    where = (chosen.size, 100 * chosen.outcome.top1)
    axes.plot(*where, "*", color="black", markersize=15, markerfacecolor="none", label="chosen", linestyle="none")
    axes.axhline(100 * found.reference.top1, color="0.4", linewidth=1, linestyle=":", label="reference (float)")
    axes.set_xscale("log")
    axes.margins(x=0.1)  # room for what stands at the largest
    axes.set_xlabel("bytes of weights and scales")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", which="both", labelrotation=30)
    axes.set_ylabel("top-1 accuracy (%)")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    told = [f"the reference has {found.reference.top1:.1%}", f"chosen: {chosen.size:,} bytes {chosen.outcome.top1:.1%}"]
    for pair in found.pairs:
        told.append(f"{pair.bits} bits everywhere: {pair.uniform.size:,} bytes {pair.uniform.outcome.top1:.1%}")
        told.append(f"layer by layer: {pair.mixed.size:,} bytes {pair.mixed.outcome.top1:.1%}")
    return svg(figure, "Top-1 accuracy against bytes: " + "; ".join(told))
