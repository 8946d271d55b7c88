"""A notebook's cells as nbformat has them, with attributes, whoever saved the file."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.checks.notebook import Notebook, Unreadable, read_notebook

__all__ = ["as_cells", "read_cells"]


def read_cells(path: Path) -> list[NotebookNode]:
    """A notebook's cells in the form that `course_utils.checks.notebook` says.

    Raises:
        Unreadable: if the file is not a notebook. Its message names the file and what is wrong.
    """
    return as_cells(read_notebook(path), path.name)


def as_cells(notebook: Notebook, name: str) -> list[NotebookNode]:
    """The same of a notebook that was read; ``name`` of its file is for the message."""
    try:
        return [nbformat.from_dict(cell) for cell in notebook.cells]
    except RecursionError:
        raise Unreadable(f"{name} is not a notebook: its data lie deeper in one another than can be read") from None
