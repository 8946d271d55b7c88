"""A notebook's cells as nbformat has them, with attributes, whoever saved the file."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.checks.notebook import read_notebook

__all__ = ["read_cells"]


def read_cells(path: Path, notes: list[str] | None = None) -> list[NotebookNode]:
    """A notebook's cells in the form that `course_utils.checks.notebook` says; what is odd goes to ``notes``.

    Raises:
        Unreadable: if the file is not a notebook. Its message names the file and what is wrong.
    """
    notebook = read_notebook(path)
    if notes is not None:
        notes += notebook.problems
    return [nbformat.from_dict(cell) for cell in notebook.cells]
