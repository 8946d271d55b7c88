"""What may stand in a source's front matter and in the headers of its cells; everything else is refused, by name.

A header with a slip of the pen is still a notebook: a misspelt mark would hand hidden lines to students, a misspelt key
would withhold nothing, and neither would say a word.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from nbformat import NotebookNode

from autograder.errors import CourseError

SETTINGS = ("title", "minutes", "due", "check_seconds", "withhold")
HEADER = ("grade_id", "solution", "grade", "points")
EXPLORE = "explore"

SOLUTION, HIDDEN = ("### BEGIN SOLUTION", "### END SOLUTION"), ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS")
LIKE_A_MARK = re.compile(r"^\s*#+ *(?:begin|end)\b.*\b(?:hidden|tests?|solutions?)\b", re.IGNORECASE)


def check_settings(settings: dict[str, Any], source: Path) -> None:
    """Looks at the front matter's ``course`` entry.

    Raises:
        CourseError: if a key is not known, or a value is of another kind.
    """

    def refuse(told: str) -> NoReturn:
        raise CourseError(f"{source}: the front matter {told}")

    for name, value in settings.items():
        if name not in SETTINGS:
            refuse(f"has {name!r}, which means nothing{_near(name, SETTINGS)}")
        if name in ("minutes", "check_seconds") and not (_is_number(value) and value > 0):
            refuse(f"has {name}: {value}, which is no positive number")
    withheld = settings.get("withhold", [])
    if not (isinstance(withheld, list) and all(isinstance(entry, str) for entry in withheld)):
        refuse(f"has withhold: {withheld}, which is no list of names, like [torch.quantile]")


def check_cells(cells: Sequence[NotebookNode], source: Path) -> None:
    """Looks at the cells of a source as its author wrote them: headers, marks, order, and whether code is Python.

    Raises:
        CourseError: that names the first cell at fault.
    """
    exercises = 0
    for number, cell in enumerate(cells, start=1):
        header = cell.metadata.get("nbgrader")
        first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
        name = (header or {}).get("grade_id") or f"{number} ({first[:40]})"
        try:
            kind = _kind(cell, header)
            exercises += kind == "exercise"
            if kind == "check" and not exercises:
                raise ValueError("is a check, and no exercise stands above it")
            _check_marks(cell, kind)
            if cell.cell_type == "code" and kind != EXPLORE:
                ast.parse(cell.source)
        except SyntaxError as error:
            where = f"{error.msg} in {str(error.text).strip()!r}"
            raise CourseError(f"{source}: the cell {name} is no Python: {where}") from None
        except ValueError as error:
            raise CourseError(f"{source}: the cell {name} {error}") from None


def _kind(cell: NotebookNode, header: Any) -> str:
    """given, explore, exercise, check or written.

    Raises:
        ValueError: if the header is none of these.
    """
    for tag in cell.metadata.get("tags", []):
        if tag != EXPLORE and difflib.get_close_matches(tag.lower(), [EXPLORE], cutoff=0.7):
            raise ValueError(f"has the tag {tag!r}: {EXPLORE!r} is meant")
    if header is None:
        return EXPLORE if EXPLORE in cell.metadata.get("tags", []) else "given"
    for key in header:
        if key not in HEADER:
            raise ValueError(f"has {key!r} in its header, which means nothing{_near(key, HEADER)}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(header.get("grade_id", ""))):
        raise ValueError("needs a grade_id of up to 64 letters, digits, _ and -")
    if not header.get("grade"):
        if not header.get("solution"):
            raise ValueError("is neither an exercise (solution) nor a check (grade) by its header")
        if cell.cell_type != "code":
            raise ValueError("is an exercise by its header, but text; a written question has grade and points, too")
        return "exercise"
    if not (_is_number(header.get("points")) and header["points"] >= 0):
        told = f"they are {header['points']!r}" if "points" in header else "there are none"
        raise ValueError(f"is graded, and needs points in its header, a number: {told}")
    if header.get("solution"):
        if cell.cell_type == "code":
            raise ValueError("is a written question by its header, but code")
        return "written"
    if cell.cell_type != "code":
        raise ValueError("is a check by its header, but text; a written question has solution, too")
    return "check"


def _check_marks(cell: NotebookNode, kind: str) -> None:
    """Marks are spelt right, come in pairs, and stand where they mean something.

    Raises:
        ValueError: if not.
    """
    marks = [line.strip() for line in cell.source.splitlines() if LIKE_A_MARK.match(line)]
    for mark in marks:
        if mark not in (*SOLUTION, *HIDDEN):
            raise ValueError(f"has the mark {mark!r}{_near(mark.upper(), (*SOLUTION, *HIDDEN))}")
        if (mark in SOLUTION) != (kind == "exercise") or (mark in HIDDEN) != (kind == "check"):
            raise ValueError(f"has {mark!r}, where only {'exercises' if mark in SOLUTION else 'checks'} have it: look "
                             f"at the cell's header")  # fmt: skip
    pair = SOLUTION if kind == "exercise" else HIDDEN
    for number, mark in enumerate(marks):
        if mark != pair[number % 2]:
            raise ValueError(f"has {mark!r} where {pair[number % 2]!r} must come first")
    if len(marks) % 2:
        raise ValueError(f"has {marks[-1]!r} without its end")
    if kind == "exercise" and not marks:
        raise ValueError(f"is an exercise, and has no answer between {SOLUTION[0]!r} and {SOLUTION[1]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(name: str, known: Collection[str]) -> str:
    """What is meant, or what there is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f": {near[0]!r} is meant" if near else f" (known: {', '.join(known)})"
