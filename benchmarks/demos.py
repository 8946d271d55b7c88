"""How soon the demos answer: ``python benchmarks/demos.py`` prints a line for each control of each demo.

The demos are those of ``solutions/demos.py``. A control is set to one value after another, or pressed; a figure is the
processor time from the change to the new picture, of this process with one thread. A tenth of a second is what people
take for at once. What the machine itself is worth is said by the time that an empty picture with three axes takes: the
last column is the median as a multiple of that.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

import ipywidgets
import matplotlib
import torch
from formats import machine, table  # the benchmark beside this one
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure

from autograder.authoring.demo import controls, seconds
from autograder.labs.pages import DEMOS, Page
from course_utils.demos.base import image_tag


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
