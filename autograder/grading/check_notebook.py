"""Runs a notebook as Jupyter would and reads what its check cells say: the same verdict, without a browser.

This is for a student's own notebook on the student's own machine: nothing is shut in, and hidden checks are not here.
Points are what `course grade` gives; as there, an endless loop or a crash costs the exercise it is in and no other.
"""

from __future__ import annotations

import ast
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_client.manager import start_new_kernel
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, output_from_msg

from autograder.errors import CourseError
from autograder.labs.notebook_file import read_cells
from course_utils import COMMAND
from course_utils.checks.notebook import Unreadable
from course_utils.checks.progress import VERDICT

CELL_SECONDS = 120
"""How long a cell may run: many times what any cell of a lab takes."""

INTERRUPT_SECONDS = 5
"""How long a kernel may take to come back from an interrupt, before it is replaced."""


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
        read = read_cells(path)
    except Unreadable as error:
        raise CourseError(f"{path.parent / str(error)}") from None
    read = [c for c in read if c.cell_type == "code" and "explore" not in c.metadata.tags]
    if not any(_is_check(c) for c in read):
        raise CourseError(f"{path} has no check cell: is it a lab of this course?")
    run = _Run(path, [new_code_cell(c.source, metadata=_kept(c.metadata)) for c in read])
    exercise, culprits = "", {}  # exercise -> why none of its further checks runs
    left_out: list[str] = []  # of the cells that belong to no exercise
    with run:
        for number, cell in enumerate(run.cells):
            if _role(cell).get("solution"):
                exercise = _id(cell)
            trouble = culprits.get(exercise, "") if _is_check(cell) else ""
            if not trouble and (trouble := run.execute(number)):
                if exercise and (_is_check(cell) or _role(cell).get("solution")):
                    culprits[exercise] = trouble
                else:
                    left_out.append(trouble)
            verdict = _verdict(cell, trouble, left_out) if _is_check(cell) else None
            yield number + 1, len(run.cells), verdict


def missing_checks(path: Path, release: Path) -> list[str]:
    """The checks of a released notebook that a student's copy has lost. Empty if there is no such release."""
    if not release.is_file():
        return []
    try:
        own, released = {_id(c) for c in read_cells(path)}, read_cells(release)
    except Unreadable as error:
        raise CourseError(str(error)) from None
    return [_id(c) for c in released if c.cell_type == "code" and _is_check(c) and _id(c) not in own]


class _Run:
    """A kernel that goes through cells, and is replaced if one of them hangs or ends it. Use as a context manager."""

    def __init__(self, path: Path, cells: list[NotebookNode]):
        self.cells, self.folder = cells, str(path.resolve().parent)
        self.done: list[NotebookNode] = []  # cells whose effects a new kernel needs

    def __enter__(self) -> _Run:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def execute(self, number: int) -> str:
        """Runs a cell and keeps its outputs. Returns what ended it: an empty text if it came to an end by itself."""
        cell = self.cells[number]
        message = self._send(cell)
        try:
            self._await_end(message, CELL_SECONDS, cell)
        except TimeoutError:
            self._free(message)
            return f"{_name(cell, number)} did not end within {CELL_SECONDS} s: is there an endless loop?"
        except _KernelIsGone:
            self._replace()
            return f"{_name(cell, number)} ended the kernel: does it exit, or take more memory than there is?"
        if not _is_check(cell):
            self.done.append(cell)
        return ""

    def _start(self) -> None:
        # python3, whatever another machine called its own; it warns of TCP without encryption, on this machine
        quiet = ["--IPKernelApp.log_level=50"]
        try:
            self.manager, self.client = start_new_kernel(kernel_name="python3", extra_arguments=quiet, cwd=self.folder)
        except (RuntimeError, OSError) as error:
            raise CourseError(f"no kernel starts here: {error} (`{COMMAND} doctor` may say why)") from error

    def _send(self, cell: NotebookNode) -> str:
        return self.client.execute(cell.source, allow_stdin=False, stop_on_error=False)

    def _await_end(self, message: str, seconds: float, cell: NotebookNode | None = None) -> None:
        """Waits until a cell has run; its outputs go into ``cell``.

        Raises:
            TimeoutError, _KernelIsGone: if it does not end, or takes the kernel along.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                told = self.client.get_iopub_msg(timeout=min(1.0, left))
            except queue.Empty:
                if not self.manager.is_alive():
                    raise _KernelIsGone from None
                continue
            if told["parent_header"].get("msg_id") != message:
                continue
            if told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
                return
            if cell is not None and told["msg_type"] in ("display_data", "execute_result", "error"):
                cell.outputs.append(output_from_msg(told))
        raise TimeoutError

    def _free(self, message: str) -> None:
        """Gets the kernel out of a cell: by an interrupt as Jupyter's stop button sends it, or by a new kernel."""
        try:
            self.manager.interrupt_kernel()
            self._await_end(message, INTERRUPT_SECONDS)
        except (TimeoutError, _KernelIsGone):
            self._replace()

    def _replace(self) -> None:
        """A new kernel, in which all cells that came to an end have run again."""
        self.__exit__()
        self._start()
        for cell in self.done:
            try:
                self._await_end(self._send(cell), CELL_SECONDS)
            except (TimeoutError, _KernelIsGone):
                told = "a cell that ran well the first time does not run a second time"
                raise CourseError(f"{told}: it begins with {cell.source.strip()[:60]!r}") from None


class _KernelIsGone(Exception):
    """A cell has ended the process that it ran in."""


def _verdict(cell: NotebookNode, trouble: str, left_out: list[str]) -> Verdict:
    question, points = _id(cell), _points(cell)
    errors = [f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"]
    panels = [o.data for o in cell.outputs if isinstance(o.get("data", {}).get(VERDICT), dict)]
    if panels and not trouble:
        told, text = panels[-1][VERDICT], str(panels[-1].get("text/plain", ""))
        passed, hints = told.get("passed") is True and not errors, told.get("hints") or {}
        return Verdict(question, points, passed, "\n".join([text, *left_out]), hints)
    told = trouble or (errors or ["the cell holds no check: was it edited?"])[0]
    return Verdict(question, points, False, "\n".join([told, *left_out]))


def _kept(metadata: NotebookNode) -> dict:
    """What running a cell needs of its metadata."""
    return {"nbgrader": metadata.get("nbgrader", {}), "tags": metadata.tags}


def _role(cell: NotebookNode) -> dict:
    return cell.metadata.get("nbgrader", {})


def _is_check(cell: NotebookNode) -> bool:
    return bool(_role(cell).get("grade"))


def _points(cell: NotebookNode) -> float:
    points = _role(cell).get("points")
    return float(points) if isinstance(points, int | float) else 0.0


def _id(cell: NotebookNode) -> str:
    return str(_role(cell).get("grade_id", ""))


def _name(cell: NotebookNode, number: int) -> str:
    """What a student would call a cell."""
    if name := _id(cell):
        return name
    try:
        defined = [n.name for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    except (SyntaxError, ValueError):
        defined = []
    return f"the cell of {defined[0]}" if defined else f"code cell {number + 1}"
