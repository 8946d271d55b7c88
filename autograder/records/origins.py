"""Where each submission came from: what an archive called it, by which a learning system takes feedback back, and what
the archive said of the time."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from autograder.errors import CourseError
from autograder.grading.reading import student_name
from autograder.records.roster import Roster
from autograder.records.tables import read_table

LIST = "collected.csv"
"""In the folder of submissions: what was taken, from where, and what the archive says of the time; and who handed in
something and no notebook, with the problem."""

COLUMNS = ["student", "lab", "time", "late", "source", "archive", "problem"]

PREFIXES = {
    # "Ada Lovelace_4711_assignsubmission_file_", a folder or the beginning of a file's name
    "moodle": re.compile(r"(?:^|.*?/)(?P<prefix>[^/]*?_\d+_assignsubmission_file)(?:_[^/]*|)(?:/|$)"),
    # "lovelaceada_LATE_4711_900001_"; with anonymous grading "anon_x7Yz_900001_"
    "canvas": re.compile(
        r"(?:^|.*?/)(?P<prefix>(?:anon(?:ymous)?_(?:LATE_)?[^/_]+|[^/]*?_\d+)_\d+)_[^/]+(?:\.zip/.*)?$", re.IGNORECASE
    ),
}
"""System -> how it begins the names of files in the archives that it offers; it reads them again in the same way. The
first such name counts: what is further in, a student may have named, so as to be given another one's page."""

JOINED = {"moodle": "{prefix}_/feedback.html", "canvas": "{prefix}_feedback.html"}


def remember(to: Path, rows: Iterable[list[str]]) -> None:
    """Adds rows of `COLUMNS` to the list in the folder of submissions; those of the same students and lab go."""
    rows = [[student_name(row[0]), *row[1:]] for row in rows]
    if not rows:
        return
    new = {(row[0], row[1]) for row in rows}
    old = [[row[c] for c in COLUMNS] for row in collected(to) if (row["student"], row["lab"]) not in new]
    rows = sorted(old + rows)
    to.mkdir(parents=True, exist_ok=True)
    partial = to / f"{LIST}.part"
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    partial.replace(to / LIST)


def collected(folder: Path, lab: str = "") -> list[dict[str, str]]:
    """What the list in a folder of submissions says, of one lab if one is named; nothing if there is no list. Students
    are called as in grades.

    Raises:
        CourseError: if there is one that cannot be read.
    """
    if not (folder / LIST).is_file():
        return []
    table = read_table(folder / LIST)
    if missing := set(COLUMNS) - {"problem"} - set(table.header):  # earlier lists have none
        raise CourseError(f"{table.path} has no column {sorted(missing)[0]!r}: delete it, and collect again")
    rows = [dict.fromkeys(COLUMNS, "") | dict(zip(table.header, cells, strict=True)) for _, cells in table.rows]
    return [row | {"student": student_name(row["student"])} for row in rows if lab in ("", row["lab"])]


def origins(submissions: Path, lab: str) -> dict[str, str]:
    """Student -> what the file was called in the archive; empty if nothing was collected."""
    return {row["student"]: row["source"] for row in collected(Path(submissions), lab)}


def without_notebook(submissions: Path, lab: str, there: Collection[str], roster: Roster | None) -> dict[str, str]:
    """Who handed in something, but no notebook that could be taken, and why; as the roster calls them.

    Args:
        there: who has a notebook by now, laid there by hand, say.
    """
    rows = ((row["student"], row["problem"]) for row in collected(submissions, lab) if row["problem"])
    named = (((roster.student(student) if roster else None) or student, why) for student, why in rows)
    return {student: why for student, why in named if student not in there}


def pack(pages: dict[str, Path], known: dict[str, str], system: str, path: Path) -> list[str]:
    """Puts pages into a zip archive under the names by which a system finds the students.

    Args:
        pages: student -> page.
        known: see `origins`.
        system: one of `PREFIXES`.

    Returns:
        Students who are not in it, since it is not known what the system called their files.
    """
    left_out = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, page in pages.items():
            if match := PREFIXES[system].match(known.get(student, "")):
                archive.write(page, JOINED[system].format(prefix=match["prefix"]))
            else:
                left_out.append(student)
    return left_out
