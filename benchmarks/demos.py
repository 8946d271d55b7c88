"""How soon the demos answer: ``python benchmarks/demos.py`` prints a line for each control of each demo.

The demos are those of ``solutions/demos.py``. A control is set to one value after another, or pressed; a figure is the
processor time from the change to the new picture, of this process with one thread. A tenth of a second is what people
take for at once. What the machine itself is worth is said by the time that an empty picture with three axes takes: the
last column is the median as a multiple of that.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import ipywidgets
import matplotlib
import numpy as np
import torch
from formats import machine, table  # the benchmark beside this one
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure

from autograder.labs.pages import DEMOS, Page
from course_utils.demos.base import image_tag

CHANGES = 12


def demos() -> Iterator[tuple[str, ipywidgets.Box]]:
    """Runs the page; the heading above each demo, and the demo."""
    shell = InteractiveShell.instance()
    heading = ""
    for cell in Page(DEMOS).notebook.cells:
        if cell.cell_type == "markdown":
            heading = cell.source.splitlines()[0].lstrip("# ")
            continue
        with capture_output():
            ran = shell.run_cell(cell.source)
        ran.raise_error()
        if isinstance(ran.result, ipywidgets.Box):
            yield heading, ran.result


def controls(demo: ipywidgets.Box) -> dict[str, list[tuple[ipywidgets.Widget, Callable[[], None]]]]:
    """By name, a demo's controls, and changes to try one after another. All its buttons count as one control."""
    found = {}
    for widget in leaves(demo):
        if isinstance(widget, ipywidgets.Button):
            found.setdefault("buttons", []).append((widget, widget.click))
        elif values := settings(widget):
            found[widget.description] = [(widget, lambda w=widget, v=v: setattr(w, "value", v)) for v in values]
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
    else:
        return []
    start = values.index(control.value) + 1 if control.value in values else 0
    return list(itertools.islice(itertools.cycle(values), start, start + CHANGES))


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def empty_picture() -> None:
    figure = Figure(figsize=(10, 3.5), dpi=80)
    figure.subplots(1, 3)
    image_tag(figure, "")


def main() -> None:
    matplotlib.use("agg")
    torch.set_num_threads(1)
    rows = []
    for heading, demo in demos():
        for name, changes in controls(demo).items():
            spent = [seconds(change) for widget, change in changes if widget.layout.display != "none"]
            empty = statistics.median(seconds(empty_picture) for _ in range(5))
            median, slowest = statistics.median(spent), max(spent)
            rows.append([heading, name, f"{1000 * median:.0f}", f"{1000 * slowest:.0f}", f"{median / empty:.1f}"])
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    head = ["demo", "control", "median, ms", "slowest, ms", "empty pictures"]
    print(f"{machine()}\n\n{table(head, rows)}")


if __name__ == "__main__":
    main()
