"""Tries one demo without a browser: draws it, moves every control, takes the time, and says what is amiss.

Demos stand in ``solutions/demos.py``. Of that page only the cells run that the demo needs.
"""

from __future__ import annotations

import ast
import html
import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from autograder.errors import CourseError
from autograder.labs.cell import Cell
from autograder.labs.pages import DEMOS, Page

CHANGES = 12
"""How many values each control is set to."""

SECONDS = 0.1
"""What people take for at once: how long a control may take, in the median."""


MOVED = ipywidgets.IntSlider | ipywidgets.FloatSlider | ipywidgets.Dropdown | ipywidgets.Button | ipywidgets.FloatText
SHOWN = ipywidgets.HTML | ipywidgets.HTMLMath | ipywidgets.Label


@dataclass(frozen=True)
class Moved:
    """What a control did.

    Attributes:
        seconds: processor time of each change, to the new picture.
        faults: what is amiss, one line each.
    """

    control: str
    seconds: list[float]
    faults: list[str]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0


def try_demo(root: Path, name: str) -> tuple[list[Moved], list[Path]]:
    """Moves every control of a demo, and saves its pictures in ``build/demos``.

    Args:
        root: the course's folder.
        name: ``staircase`` for what ``staircase_demo(...)`` shows.

    Returns:
        What each control did, and the files that were written: the demo as it begins, and its still picture.

    Raises:
        CourseError: if the page has no such demo.
    """
    demo, still = _run(root, name)
    folder = root / "build" / "demos"
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.html"]
    written[0].write_text(f"<!doctype html><meta charset='utf-8'>{_picture(demo)}", encoding="utf-8")
    if still is not None:
        written.append(folder / f"{name}.png")
        still.savefig(written[1])
    moved = [_move(demo, control, changes) for control, changes in controls(demo).items()]
    whole = _faults_of_the_whole(demo, still, moved)
    return [*moved, *([Moved("the whole", [], whole)] if whole else [])], written


def _run(root: Path, name: str) -> tuple[ipywidgets.Box, Figure | None]:
    """A demo and its still picture, from the page's cells that they need."""
    cells = [Cell("", "given", c.source, True) for c in Page(DEMOS, root).notebook.cells if c.cell_type == "code"]
    wanted = [c for c in cells if re.search(rf"\b{name}_(demo|still)\(", c.source)]
    if not any(f"{name}_demo(" in c.source for c in wanted):
        known = sorted(set(re.findall(r"^(\w+)_demo\(", "\n".join(c.source for c in cells), re.MULTILINE)))
        raise CourseError(f"solutions/{DEMOS}.py shows no {name}_demo(...); demos there: {', '.join(known)}")
    needed: list[Cell] = []
    names: set[str] = set()
    for cell in reversed(cells):
        if cell in wanted or names & _defined(cell):
            needed.insert(0, cell)
            names |= {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = {id(cell): _execute(cell.source, space) for cell in needed}
    results = [shown[id(cell)] for cell in wanted]
    demo = next((r for r in results if isinstance(r, ipywidgets.Box)), None)
    if demo is None:
        raise CourseError(f"the cell of {name}_demo(...) in solutions/{DEMOS}.py must end with it")
    return demo, next((r for r in results if isinstance(r, Figure)), None)


def _defined(cell: Cell) -> set[str]:
    imported = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return {*cell.names, *(a.asname or a.name.partition(".")[0] for n in imported for a in n.names)}


def _execute(source: str, space: dict[str, Any]) -> Any:
    """Runs a cell. Returns what it shows: the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<demo>", "exec"), space)
    return eval(compile(ast.Expression(last.value), "<demo>", "eval"), space) if last else None


def controls(demo: ipywidgets.Box) -> dict[str, list[tuple[ipywidgets.Widget, Callable[[], None]]]]:
    """By name, a demo's controls, and changes to try one after another. All its buttons count as one control."""
    found = {}
    for number, widget in enumerate(leaves(demo), start=1):
        if isinstance(widget, ipywidgets.Button):
            found.setdefault("buttons", []).append((widget, widget.click))
        elif values := settings(widget):
            name = widget.description or f"control {number}"
            found[name] = [(widget, lambda w=widget, v=v: setattr(w, "value", v)) for v in values]
    return found


def leaves(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    if isinstance(widget, ipywidgets.Box):
        for child in widget.children:
            yield from leaves(child)
    else:
        yield widget


def settings(control: ipywidgets.Widget) -> list:
    """A dozen values, each another than the one before, the first another than the present one."""
    if isinstance(control, ipywidgets.Dropdown):
        values = [value for _, value in control._options_full]
    elif isinstance(control, ipywidgets.IntSlider):
        values = list(range(control.min, control.max + 1, control.step))
    elif isinstance(control, ipywidgets.FloatSlider):
        values = np.linspace(control.min, control.max, CHANGES).tolist()
    elif isinstance(control, ipywidgets.FloatText):
        values = [control.value + number for number in range(CHANGES + 1)]
    else:
        return []
    start = values.index(control.value) + 1 if control.value in values else 0
    return list(itertools.islice(itertools.cycle(values), start, start + CHANGES))


def seconds(call: Callable[[], object]) -> float:
    """Processor time, with all threads."""
    started = time.process_time()
    call()
    return time.process_time() - started


def _picture(demo: ipywidgets.Box) -> str:
    return "".join(w.value for w in leaves(demo) if isinstance(w, ipywidgets.HTML))


def _alternatives(picture: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r'<img alt="([^"]*)"', picture)]


def _move(demo: ipywidgets.Box, name: str, changes: list[tuple[ipywidgets.Widget, Callable[[], None]]]) -> Moved:
    faults, spent, pictures = [], [], [_picture(demo)]
    for widget, change in changes:
        if widget.layout.display != "none":
            if not widget.description.strip():
                faults.append("has no label")
            spent.append(seconds(change))
            pictures.append(_picture(demo))
    if spent and len(set(pictures)) == 1:
        faults.append("moves, and the picture stays as it is")
    elif spent and len({str(_alternatives(p)) for p in pictures}) == 1:
        faults.append("moves, and the picture's text alternative stays as it is")
    moved = Moved(name, spent, list(dict.fromkeys(faults)))
    if moved.median > 2 * SECONDS:  # by half, a busy or old machine may be at fault
        moved.faults.append(f"takes {moved.median:.2f} s; at most {SECONDS:g} s are taken for at once")
    return moved


def _faults_of_the_whole(demo: ipywidgets.Box, still: Figure | None, moved: list[Moved]) -> list[str]:
    texts = _alternatives(_picture(demo))
    faults = [] if moved else ["it has no control"]
    for widget in leaves(demo):
        if not isinstance(widget, MOVED | SHOWN):
            kind = type(widget).__name__
            faults.append(f"a {kind} is no slider, menu, button or FloatText, and nothing here can move it")
    if found := re.search(r"\bon(click|mouse\w+|pointer\w+|drag\w*)=|<script", _picture(demo)):
        faults.append(f"{found[0]!r} in its HTML answers to no key: take a slider, menu or button")
    if not texts or not all(text.strip() for text in texts):
        faults.append("a picture has no text alternative" if texts else "it shows no picture")
    if still is None:
        faults.append("there is no still picture: a cell that ends with ..._still(...)")
    elif not still.get_label():
        faults.append("the still picture has no text alternative: figure.set_label(...)")
    return faults
