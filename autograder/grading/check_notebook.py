"""Runs a notebook as Jupyter would and reads what its check cells say: the same verdict, without a browser.

This is for a student's own notebook on the student's own machine: nothing is shut in, and hidden checks are not here.
Points are what `course grade` gives.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from autograder.errors import CourseError
from autograder.labs.notebook_file import Unreadable, read_cells
from course_utils.checks.progress import VERDICT

CELL_SECONDS = 120
"""How long a cell may run: many times what any cell of a lab takes."""


@dataclass(frozen=True)
class Verdict:
    """What one check cell said.

    Attributes:
        question: the cell's ``grade_id``.
        text: the check's own words, or what went wrong instead.
        hints: level -> text.
    """

    question: str
    points: float
    passed: bool
    text: str
    hints: dict[str, str] = field(default_factory=dict)


def check_notebook(path: Path) -> Iterator[tuple[int, int, Verdict | None]]:
    """Runs a notebook's cells in order, those tagged ``explore`` left out.

    Yields:
        For every cell: how many are done, how many there are, and the verdict if it is a check.

    Raises:
        CourseError: if the file is no notebook, or has no check in it.
    """
    try:
        notebook = nbformat.v4.new_notebook(cells=read_cells(path))
    except Unreadable as error:
        raise CourseError(f"{path.parent / str(error)}") from None
    cells = [c for c in notebook.cells if c.cell_type == "code" and "explore" not in c.metadata.get("tags", [])]
    if not any(_is_check(c) for c in cells):
        raise CourseError(f"{path} has no check cell: is it a lab of this course?")
    notebook.cells = cells
    client = NotebookClient(
        notebook,
        kernel_name="python3",  # whatever another machine called its own
        timeout=CELL_SECONDS,
        interrupt_on_timeout=False,
        allow_errors=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # the kernel warns of TCP without encryption, on this machine
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    stopped = ""
    with client.setup_kernel():
        for number, cell in enumerate(cells, start=1):
            if not stopped:
                stopped = _run(client, cell, number)
            yield number, len(cells), _verdict(cell, stopped) if _is_check(cell) else None


def missing_checks(path: Path, release: Path) -> list[str]:
    """The checks of a released notebook that a student's copy has lost. Empty if there is no such release."""
    if not release.is_file():
        return []
    own = {_id(c) for c in read_cells(path)}
    return [_id(c) for c in read_cells(release) if c.cell_type == "code" and _is_check(c) and _id(c) not in own]


def _run(client: NotebookClient, cell: NotebookNode, number: int) -> str:
    """Runs one cell. Returns why nothing can run after it, or an empty text."""
    try:
        client.execute_cell(cell, number - 1)
    except CellTimeoutError:
        return f"{_name(cell, number)} did not end within {CELL_SECONDS} s: is there an endless loop?"
    except DeadKernelError:
        return f"{_name(cell, number)} ended the kernel: does it exit, or take more memory than there is?"
    return ""


def _verdict(cell: NotebookNode, stopped: str) -> Verdict:
    question, points = _id(cell), float(cell.metadata["nbgrader"].get("points", 0))
    errors = [f"{o.ename}: {o.evalue}" for o in cell.get("outputs", []) if o.output_type == "error"]
    panels = [o.data for o in cell.get("outputs", []) if VERDICT in o.get("data", {})]
    if panels:
        told = panels[-1][VERDICT]
        return Verdict(question, points, told["passed"] and not errors, panels[-1]["text/plain"], told["hints"])
    return Verdict(question, points, False, (errors or [stopped or "the cell holds no check: was it edited?"])[0])


def _is_check(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def _id(cell: NotebookNode) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def _name(cell: NotebookNode, number: int) -> str:
    """What a student would call a cell."""
    if name := _id(cell):
        return name
    try:
        defined = [n.name for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    except SyntaxError:
        defined = []
    return f"the cell of {defined[0]}" if defined else f"code cell {number}"
