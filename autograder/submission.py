"""From a student's notebook, take the answers and nothing else.

An answer is the source of an exercise or written cell, found by its ``grade_id``. Everything else of a submission
(checks, given cells, added cells, outputs, metadata) is left behind; what is odd about it becomes a note.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.build import release
from autograder.lab import Cell, Lab, lab_names

MAX_BYTES = 50 * 2**20
"""The largest notebook file that is read. Plots and prints of a lab take one or two MiB."""


class Unreadable(Exception):
    """A submission without a notebook to take answers from. The message says what is wrong with it."""


@dataclass
class Answers:
    """What a student answered, by ``grade_id``, and what was odd about the notebook."""

    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def notebook_path(folder: Path, lab: Lab) -> Path:
    """The notebook in a student's folder: ``<lab>.ipynb``, or the only one there is.

    Raises:
        Unreadable: if there is none, or several and none has the lab's name.
    """
    expected = folder / f"{lab.name}.ipynb"
    if expected.is_file():
        return expected
    labs = lab_names(lab.root)  # a folder may hold what was handed in for other labs
    others = sorted(p for p in folder.rglob("*.ipynb") if p.is_file() and p.stem not in labs)
    others = [p for p in others if ".ipynb_checkpoints" not in p.parts]
    if len(others) == 1:
        return others[0]
    found = ", ".join(p.name for p in others) or "no notebook"
    raise Unreadable(f"{expected.name} is missing (found: {found})")


def read_answers(path: Path, lab: Lab) -> Answers:
    """
    Raises:
        Unreadable: if the file is not a notebook. Its message names the file and what is wrong.
    """
    cells = _read_cells(path)
    answers = Answers()
    if path.name != f"{lab.name}.ipynb":
        answers.notes.append(f"the notebook is named {path.name}")
    released = {c["id"]: c for c in release(lab).cells}
    for wanted in lab.answers:
        source = _find_answer(wanted, cells, released[wanted.id].source, answers.notes)
        if source is not None:
            answers.sources[wanted.id] = source
    answers.notes += _oddities(lab, cells, released)
    return answers


def _read_cells(path: Path) -> list[NotebookNode]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Unreadable(f"{path.name} has {size / 2**20:.0f} MiB (limit {MAX_BYTES / 2**20:.0f} MiB)")
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path.name} is not UTF-8 text (byte {error.start})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"{path.name} is not a notebook: it is not JSON{where}") from None
    if not isinstance(notebook, dict):
        raise Unreadable(f"{path.name} is not a notebook: it is JSON, but no object")
    try:
        if notebook.get("nbformat", 4) < 4:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
        cells = notebook["cells"]
        return [nbformat.from_dict(c | {"source": _text(c["source"])}) for c in cells]
    except Exception as error:
        raise Unreadable(f"{path.name} is not a notebook: {type(error).__name__}: {error}") from None


def _text(source: str | list[str]) -> str:
    text = source if isinstance(source, str) else "".join(source)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _grade_id(cell: NotebookNode) -> str | None:
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None


def _find_answer(wanted: Cell, cells: list[NotebookNode], stub: str, notes: list[str]) -> str | None:
    """The student's source for one answer cell, or None.

    Of several cells with its id, the last that differs from the stub counts: what a kernel that ran them top-down
    would have kept. Where the id is lost, the last cell that defines the exercise's names counts.
    """
    sources = [c.source for c in cells if _grade_id(c) == wanted.id]
    if len(sources) > 1:
        notes.append(f"{wanted.id}: {len(sources)} cells have this id; the last one that was edited counts")
    if not sources and wanted.kind == "exercise":
        sources = [c.source for c in cells if _grade_id(c) is None and _defines(c, wanted.names)]
        if sources:
            notes.append(f"{wanted.id}: the cell's id is lost; the cell that defines {wanted.names[0]} counts")
    if not sources:
        notes.append(f"{wanted.id}: the cell is missing")
        return None
    edited = [s for s in sources if s.strip() != stub.strip()]
    return (edited or sources)[-1]


def _defines(cell: NotebookNode, names: tuple[str, ...]) -> bool:
    if cell.get("cell_type") != "code":
        return False
    try:
        defined = Cell("", "exercise", cell.source, True).names
    except (SyntaxError, ValueError):
        return False
    return set(names) <= set(defined)


def _oddities(lab: Lab, cells: list[NotebookNode], released: dict[str, NotebookNode]) -> list[str]:
    """What else differs from the release. It has no effect on the score; an instructor may want to know."""
    notes = []
    by_id: dict[str, list[str]] = {}
    for cell in cells:
        by_id.setdefault(_grade_id(cell) or "", []).append(cell.source)
    for check in (c for c in lab.cells if c.kind == "check"):
        sources = by_id.get(check.id, [])
        if not sources:
            notes.append(f"{check.id}: the check cell was deleted")
        elif len(sources) > 1:
            notes.append(f"{check.id}: {len(sources)} cells have this id")
        elif sources[0].strip() != released[check.id].source.strip():
            notes.append(f"{check.id}: the check cell was edited")
    return notes


def added_names(path: Path, lab: Lab) -> set[str]:
    """Names that cells of the student's own define. Only exercise cells are graded, so an answer must not need them."""
    names: set[str] = set()
    ids = {c.id for c in lab.cells}
    for cell in _read_cells(path):
        if _grade_id(cell) not in ids and cell.get("cell_type") == "code":
            try:
                names.update(Cell("", "given", cell.source, True).names)
                imports = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Import | ast.ImportFrom)]
                names.update(a.asname or a.name.partition(".")[0] for n in imports for a in n.names)
            except (SyntaxError, ValueError):
                continue
    return names
