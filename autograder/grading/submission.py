"""From a student's notebook, take the answers and nothing else.

An answer is the source of an exercise or written cell, found by its ``grade_id``. Everything else of a submission
(checks, given cells, added cells, outputs, metadata) is left behind; what is odd about it becomes a note.
"""

from __future__ import annotations

import ast
import functools
import itertools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from autograder.errors import CourseError
from autograder.grading.copied import copied, packed
from autograder.labs.build import digest, release, release_digests, release_id
from autograder.labs.cell import Cell
from autograder.labs.lab import Lab, lab_names
from autograder.labs.notebook_file import as_cells
from autograder.sandbox.folders import DEEPEST, files_below
from autograder.sandbox.strangers import visible_name
from course_utils.checks.notebook import Notebook, Unreadable, parse_notebook, read_content

DIGEST = re.compile("[0-9a-f]{8,16}")
"""A release or a cell, as handouts name them. What else a notebook says of itself is passed over."""

MAX_CODE = 500_000
"""Characters of code in a notebook that is searched for answers whose cells lost their ids. A lab has less than a
tenth; parsing a million takes seconds, and a hundred times the memory of the text."""


MAX_ANSWER = 200_000
"""Characters of one answer. The longest module of `course_utils` has a fifth."""

MOST_FILES = 10_000
"""In one student's folder."""

NAMED = 5
"""So many of the files found are named in a message."""


@dataclass
class Answers:
    """What a student answered, by ``grade_id``, and what was odd about the notebook.

    Attributes:
        refused: answers that are not taken, and why; none of them is among the sources.
        added: names that cells of the student's own define. Only exercise cells are graded, so an answer must not need
            them.
        digest: SHA-256 of the notebook's file; empty if it was not read.
    """

    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    digest: str = ""


def notebook_path(folder: Path, lab: Lab) -> Path:
    """The notebook in a student's folder: ``<lab>.ipynb``, or the only one there is.

    Raises:
        Unreadable: if there is none, or several and not just one has the lab's name, or it is a link to elsewhere.
    """
    expected = folder / f"{lab.name}.ipynb"
    found = [expected] if expected.is_file() else notebooks_in(folder)
    labs = lab_names(lab.root)  # a folder may hold what was handed in for other labs
    fitting = [p for p in found if p.name == expected.name] or [p for p in found if p.stem not in labs]
    if len(fitting) != 1:
        told = [f"{visible_name(_name(p, folder))}{' of another lab' if p.stem in labs else ''}" for p in found[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise Unreadable(f"{expected.name} is missing (found: {', '.join(told) or 'no notebook'}{more})")
    path = fitting[0]
    if not path.resolve().is_relative_to(folder.resolve()):  # to a classmate's notebook, or to the grader's own files
        raise Unreadable(f"{path.name} is a link to a file outside of the submission: hand in the notebook itself")
    return path


def holds(folder: Path, lab: Lab) -> bool | None:
    """Whether a student's folder holds something for a lab: False if there are only other labs' notebooks, None if
    there is no notebook at all."""
    try:
        found = [path.stem for path in notebooks_in(folder)]
    except Unreadable:  # its row will tell
        return True
    others = set(lab_names(lab.root)) - {lab.name}
    return any(stem not in others for stem in found) if found else None


def notebooks_in(folder: Path) -> list[Path]:
    """The notebooks in a student's folder, sorted.

    Raises:
        Unreadable: if nobody would want to look through the folder.
    """
    files = list(itertools.islice(files_below(folder), MOST_FILES + 1))
    if len(files) > MOST_FILES:
        raise Unreadable(f"the folder holds more than {MOST_FILES:,} files")
    if any(path.is_dir() and not path.is_symlink() for path in files):
        raise Unreadable(f"the folder holds folders in folders, more than {DEEPEST} deep")
    return sorted(path for path in files if path.suffix == ".ipynb" and _is_hand_in(path, folder))


def _name(path: Path, folder: Path) -> str:
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")


def _is_hand_in(path: Path, folder: Path) -> bool:
    """Whether a file was meant to be handed in: checkpoints and what macOS puts into archives were not."""
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def read_answers(path: Path, lab: Lab, content: bytes | None = None) -> Answers:
    """
    Args:
        content: of the file, if it was read.

    Raises:
        Unreadable: if the file is not a notebook, or one of another lab. Its message says what is wrong.
    """
    notebook = parse_notebook(read_content(path) if content is None else content, path.name)
    cells = as_cells(notebook, path.name)
    answers = Answers(notes=notebook.problems)
    if other := other_lab(cells, lab):
        raise Unreadable(f"{path.name} is a notebook of {other}, not of {lab.name}")
    if path.name != f"{lab.name}.ipynb":
        answers.notes.append(f"the notebook is named {path.name}")
    if earlier := _earlier_release(notebook, lab):
        present = release_id(lab)
        answers.notes.append(f"the notebook came from release {earlier} of the lab, the present one is {present}")
    handed_out = release_digests(lab) | (_told_digests(notebook) if earlier else {})
    stubs = {c["id"]: c.source for c in release(lab).cells}
    for wanted in lab.answers:
        source = find_answer(wanted, cells, handed_out, answers.notes)
        if source is not None and len(source) > MAX_ANSWER:
            answers.refused[wanted.id] = f"{wanted.id}: {len(source):,} characters are no answer (limit {MAX_ANSWER:,})"
        elif source is not None:  # what is untouched is the present stub, whichever release it came from
            answers.sources[wanted.id] = source if digest(source) != handed_out[wanted.id] else stubs[wanted.id]
    answers.notes += _oddities(lab, cells, handed_out)
    answers.notes += [copy.with_lines for copy in copied(lab, answers.sources)] + packed(lab, answers.sources)
    answers.added = added_names(cells, lab)
    return answers


def _earlier_release(notebook: Notebook, lab: Lab) -> str:
    """Which release a notebook came from, if its handout told it and it is not the present one; else an empty text."""
    told = _told(notebook, "release")
    return told if isinstance(told, str) and DIGEST.fullmatch(told) and told != release_id(lab) else ""


def _told_digests(notebook: Notebook) -> dict[str, str]:
    """What the handout told of the notebook's cells. It is a stranger's word: believed, it makes an answer of theirs
    untouched or a cell of theirs unedited, and no point comes of that."""
    told = _told(notebook, "cells")
    told = told if isinstance(told, dict) else {}
    return {name: word for name, word in told.items() if isinstance(word, str) and DIGEST.fullmatch(word)}


def _told(notebook: Notebook, name: str) -> object:
    course = notebook.metadata.get("course")
    return course.get(name) if isinstance(course, dict) else None


def other_lab(cells: list[NotebookNode], lab: Lab) -> str:
    """The name of the lab whose exercises are in these cells, if none of this lab's are; else an empty text."""
    found = {_grade_id(cell) for cell in cells} - {None}
    if not found or found & {cell.id for cell in lab.answers}:
        return ""
    others = {name: _answers_of(name, lab.root) for name in lab_names(lab.root) if name != lab.name}
    return next((name for name, ids in others.items() if len(found & ids) > len(ids) / 2), "")


def _answers_of(name: str, root: Path) -> frozenset[str]:
    try:
        return _answers_at(name, root, Lab(name, root).source.stat().st_mtime_ns)
    except CourseError:  # another lab's source that is being written is nothing to this one
        return frozenset()


@functools.lru_cache(maxsize=64)  # every notebook of a class asks for all labs
def _answers_at(name: str, root: Path, _changed: int) -> frozenset[str]:
    return frozenset(cell.id for cell in Lab(name, root).answers)


def _grade_id(cell: NotebookNode) -> str | None:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    return grade_id if isinstance(grade_id, str) else None


def find_answer(wanted: Cell, cells: list[NotebookNode], handed_out: dict[str, str], notes: list[str]) -> str | None:
    """The student's source for one answer cell, or None.

    Of several cells with its id, the last that differs from the stub counts: what a kernel that ran them top-down
    would have kept. Where the id is lost, the last cell that defines the exercise's names counts, perhaps one with
    another id, since merged cells keep only the first one's; of a written answer the one text below its question.
    """
    sources = [c.source for c in cells if _grade_id(c) == wanted.id]
    if len(sources) > 1:
        notes.append(f"{wanted.id}: {len(sources)} cells have this id; the last whole answer in them counts")
    names = set(wanted.names) if wanted.kind == "exercise" else set()
    if not sources and wanted.kind == "exercise" and _is_searchable(cells):
        untouched = set(handed_out.values())
        defining = [c for c in cells if digest(c.source) not in untouched and _defines(c, names)]
        sources = [c.source for c in ([c for c in defining if _grade_id(c) is None] or defining)]
        if sources:
            notes.append(f"{wanted.id}: the cell's id is lost; the cell that defines {wanted.names[0]} counts")
    if not sources and wanted.kind == "written":
        sources = _below_question(wanted, cells, handed_out)
        if sources:
            notes.append(f"{wanted.id}: the cell's id is lost; the text below its question counts")
    if not sources:
        notes.append(f"{wanted.id}: the cell is missing")
        return None
    edited = [s for s in sources if digest(s) != handed_out[wanted.id]] or sources
    return _join(edited, names) if wanted.kind == "exercise" and _is_searchable(cells) else edited[-1]


def _below_question(wanted: Cell, cells: list[NotebookNode], handed_out: dict[str, str]) -> list[str]:
    """The one text without an id between the question as it was handed out and the next cell that was; of several, or
    if the question is not there just once, none."""
    ids = list(handed_out)
    question = handed_out[ids[ids.index(wanted.id) - 1]]
    at = [number for number, cell in enumerate(cells) if digest(cell.source) == question]
    if len(at) != 1:
        return []
    others = {*handed_out.values()} - {handed_out[wanted.id]}
    below = itertools.takewhile(lambda c: _grade_id(c) is None and digest(c.source) not in others, cells[at[0] + 1 :])
    texts = [cell.source for cell in below if cell.get("cell_type") == "markdown" and cell.source.strip()]
    return texts if len(texts) == 1 else []


def _join(parts: list[str], names: set[str]) -> str:
    """One answer of several cells: the last that is whole, with the parts that were split off it."""
    known = [_names(part) for part in parts] if len(parts) > 1 else []
    whole = "\n".join(parts)
    if None in known and names <= (_names(whole) or set()):  # split within a function
        return whole
    last = max((n for n, defined in enumerate(known) if defined is not None and names <= defined), default=None)
    if last is None:
        return whole
    helpers = [n for n, defined in enumerate(known) if defined is not None and not names & defined]
    return "\n".join(part for n, part in enumerate(parts) if n == last or n in helpers)


def _is_searchable(cells: list[NotebookNode]) -> bool:
    """Whether what may be parsed of a notebook is short enough for it."""
    return sum(len(c.source) for c in cells if c.get("cell_type") == "code" or _grade_id(c)) <= MAX_CODE


def _defines(cell: NotebookNode, names: set[str]) -> bool:
    """Whether a cell defines all names. It is parsed only if they are in it."""
    code = cell.get("cell_type") == "code" and all(name in cell.source for name in names)
    return code and names <= (_names(cell.source) or set())


@functools.lru_cache(maxsize=64)  # each exercise whose id is lost asks for those of all cells
def _names(source: str) -> set[str] | None:
    """What a stranger's source defines. None if it is no Python, or only meant to keep the parser busy."""
    try:
        return set(Cell("", "exercise", source, True).names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _oddities(lab: Lab, cells: list[NotebookNode], handed_out: dict[str, str]) -> list[str]:
    """What else differs from what was handed out. It has no effect on the score; an instructor may want to know."""
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
        elif digest(sources[0]) != handed_out[check.id]:
            notes.append(f"{check.id}: the check cell was edited")
    return notes


def added_names(cells: list[NotebookNode], lab: Lab) -> list[str]:
    """See `Answers`; sorted."""
    names: set[str] = set()
    ids = {c.id for c in lab.cells}
    own = {c.source for c in cells if c.get("cell_type") == "code" and _grade_id(c) not in ids and c.source.strip()}
    for source in own if _is_searchable(cells) else ():
        try:
            names.update(_names(source) or ())
            imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
            names.update(a.asname or a.name.partition(".")[0] for n in imports for a in n.names)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return sorted(names)
