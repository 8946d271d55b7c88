"""A lab as its author wrote it: cells, questions and answer variants, read from ``solutions/<lab>/``.

There are four kinds of cell:

- *given*: prose and code that nobody edits;
- *exercise*: a code cell whose reference answer stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``;
- *check*: a code cell with expectations and points, part of them between ``### BEGIN HIDDEN TESTS`` and
  ``### END HIDDEN TESTS``;
- *written*: a markdown cell with points, graded by hand; in the source it holds the model answer.

A given code cell tagged ``explore`` is for looking and playing. The grader leaves it out.

What is the same in several labs stands once, in ``solutions/shared/``: a line ``include: FILE`` of a text, or
``# include: FILE`` of a code cell, is replaced by what the file holds.
"""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from autograder import ROOT
from autograder.errors import CourseError
from autograder.labs.cell import Cell
from autograder.labs.headers import check_cells, check_settings
from autograder.labs.variants import Variant, read_variants
from course_utils.checks import hints

CHECK_SECONDS = 10.0
"""How long a check or an answer cell may take when the lab's front matter (``check_seconds``) says nothing."""

INCLUDE = re.compile(r"^(?:# )?include: (\S+)$", re.MULTILINE)

MIN_WRONG, MIN_RIGHT = 5, 2
"""How many variants the gates ask for, for each exercise."""


class Lab:
    """A lab in ``<root>/solutions/<name>/``.

    Raises:
        CourseError: if there is no such lab; its text lists those there are.
    """

    def __init__(self, name: str, root: Path = ROOT):
        self.name, self.root = name, Path(root)
        self.folder = self.root / "solutions" / name
        self.source = self.folder / f"{name}.py"
        if not self.source.is_file():
            known = ", ".join(lab_names(self.root)) or "none"
            raise CourseError(f"there is no lab {name!r}: {self.source} does not exist (labs here: {known})")

    def __repr__(self) -> str:
        return f"Lab({self.name!r})"

    @functools.cached_property
    def instructor_notebook(self) -> NotebookNode:
        """The notebook with reference answers and hidden checks, and nbgrader's metadata filled in.

        Raises:
            CourseError: if the source is no notebook, two cells share an id, or something in it means nothing: see
                `autograder.labs.headers`.
        """
        notebook = read_source(self.source)
        course = notebook.metadata.get("course", {})
        check_settings(course, self.source)
        check_cells(notebook.cells, self.source)
        if "due" in course:
            course["due"] = _utc(course["due"], self.source)
        for number, cell in enumerate(notebook.cells, start=1):
            _complete_metadata(cell, number)
            cell["id"] = cell.metadata.get("nbgrader", {}).get("grade_id", f"explore-{number}")[:64]
        ids = [cell["id"] for cell in notebook.cells]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise CourseError(f"{self.source}: the grade_id {twice[0]!r} stands on more than one cell")
        nbformat.validate(notebook)
        return notebook

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in order."""
        return tuple(_cell(c) for c in self.instructor_notebook.cells)

    @property
    def settings(self) -> dict:
        """The front matter's ``course`` entry: title, minutes, due, check_seconds, withhold."""
        return self.instructor_notebook.metadata.get("course", {})

    @property
    def check_seconds(self) -> float:
        return float(self.settings.get("check_seconds", CHECK_SECONDS))

    @property
    def due(self) -> datetime | None:
        """When the lab is due, in UTC, if its front matter says so."""
        text = self.settings.get("due")
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None

    @functools.cached_property
    def due_text(self) -> str:
        """When the lab is due as its author wrote it, with its zone; empty if the front matter does not say."""
        return str(read_source(self.source).metadata.get("course", {}).get("due", ""))

    @property
    def withheld(self) -> list[str]:
        return list(self.settings.get("withhold", []))

    @property
    def hints_path(self) -> Path:
        return self.folder / hints.FILE

    @property
    def hints(self) -> dict[str, dict[str, str]]:
        """Exercise -> level (``idea``, ``steps``) -> text. Empty if nobody wrote any.

        Raises:
            CourseError: if the file is not TOML.
        """
        if not self.hints_path.is_file():
            return {}
        try:
            return tomllib.loads(self.hints_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CourseError(f"{self.hints_path} is not TOML: {error}") from error

    @property
    def exercises(self) -> tuple[Cell, ...]:
        return tuple(c for c in self.cells if c.kind == "exercise")

    @property
    def answers(self) -> tuple[Cell, ...]:
        """What a student fills in: exercises and written questions."""
        return tuple(c for c in self.cells if c.kind in ("exercise", "written"))

    @property
    def questions(self) -> tuple[Cell, ...]:
        """What has points: checks and written questions."""
        return tuple(c for c in self.cells if c.kind in ("check", "written"))

    @property
    def max_score(self) -> float:
        """Points that the checks give, the written questions left aside."""
        return sum(c.points for c in self.cells if c.kind == "check")

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """Exercise or written question -> the heading that it stands under; its id if there is none."""
        titles, heading = {}, ""
        for cell in self.cells:
            if cell.kind == "given" and not cell.is_code:
                found = re.findall(r"^#{1,4} +(.+?) *#*$", cell.source, re.MULTILINE)
                heading = found[-1] if found else heading
            elif cell.kind in ("exercise", "written"):
                titles[cell.id] = heading if heading and heading not in titles.values() else cell.id
        return titles

    def exercise_of(self, check: Cell) -> Cell:
        """The exercise that a check belongs to: the nearest one above it."""
        above = [c for c in self.cells[: self.cells.index(check)] if c.kind == "exercise"]
        if not above:
            raise CourseError(f"{self.source}: the check {check.id!r} stands before any exercise")
        return above[-1]

    def variants(self, *, right: bool) -> list[Variant]:
        """The answers in ``right/`` or ``wrong/``, sorted by name.

        Raises:
            CourseError: see `read_variants`.
        """
        return read_variants(self.folder / ("right" if right else "wrong"), self.exercises, right=right)


def lab_names(root: Path = ROOT) -> list[str]:
    """The labs in ``<root>/solutions``: every folder that holds a source of its own name."""
    return sorted(p.parent.name for p in (Path(root) / "solutions").glob("*/*.py") if p.stem == p.parent.name)


def read_source(path: Path) -> NotebookNode:
    """A source as a notebook, with no more metadata than its author wrote.

    Raises:
        CourseError: if it is no notebook.
    """
    try:
        notebook = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except Exception as error:
        raise CourseError(f"{path} is not a notebook in jupytext's percent format: {error}") from error
    # what jupytext writes of itself would tie the release to a jupytext version
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "course")}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)  # its note to itself about blank lines
        cell.source = INCLUDE.sub(lambda found: _shared(found[1], path), cell.source)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> NotebookNode:
    # the slowest part of reading a lab, which commands and the pages of a class do again and again
    return jupytext.reads(text, fmt="py:percent")


def _shared(name: str, source: Path) -> str:
    """What an ``include`` line of a source stands for."""
    folder = next(parent for parent in source.absolute().parents if parent.name == "solutions") / "shared"
    if not (folder / name).is_file():
        known = ", ".join(sorted(path.name for path in folder.glob("*"))) or "none"
        raise CourseError(f"{source}: include: {name}: there is no such file in {folder} (files there: {known})")
    return (folder / name).read_text(encoding="utf-8").strip()


def _utc(due: object, source: Path) -> str:
    """A due date as it stands in a release, ``2026-11-30T22:59:00+00:00``: what reads it needs to know no zones."""
    from autograder.labs.due import read_time

    # YAML makes a date of what looks like one
    return read_time(str(due), f"{source}, due").replace(tzinfo=UTC).isoformat()


def _complete_metadata(cell: NotebookNode, number: int) -> None:
    """Fills in what nbgrader wants of a cell's metadata, so that an author writes only what says something; tells the
    student a check's points."""
    written = cell.metadata.pop("nbgrader", None)
    if written is None and "explore" in cell.metadata.get("tags", []):
        return
    written = written or {"grade_id": f"given-{number}", "locked": True}
    graded = bool(written.get("grade"))
    metadata = {
        "schema_version": 3,
        "grade_id": written["grade_id"],
        "grade": graded,
        "solution": bool(written.get("solution")),
        "locked": not written.get("solution"),
        "task": False,
    }
    if graded:
        points = written["points"]
        metadata |= {"points": points, "cell_type": cell.cell_type}
        if cell.cell_type == "code":
            cell.source = f"# {points:g} point{'s' if points != 1 else ''}\n{cell.source}"
    cell.metadata["nbgrader"] = metadata


def _cell(cell: NotebookNode) -> Cell:
    nbgrader = cell.metadata.get("nbgrader", {})
    kinds = {(False, True): "exercise", (True, False): "check", (True, True): "written"}
    return Cell(
        id=cell["id"],
        kind=kinds.get((nbgrader.get("grade", False), nbgrader.get("solution", False)), "given"),
        source=cell.source,
        is_code=cell.cell_type == "code",
        points=float(nbgrader.get("points", 0)),
        explore="explore" in cell.metadata.get("tags", []),
    )
