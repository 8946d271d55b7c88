"""Files that say when somebody handed in, or has to: of one's own, or as learning systems write them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path

from autograder.errors import CourseError
from autograder.labs.due import Clock, read_time
from autograder.records.roster import Roster, roster_of
from autograder.records.tables import Table, read_table

TIME_COLUMNS = ("time", "last modified (submission)", "zuletzt geändert (abgabe)", "submission time", "submitted at")
"""What systems and people call the column with the time of the hand-in: ours, Moodle's, Gradescope's."""

NO_TIME = ("", "-", "n/a")


def read_times(
    path: Path,
    lab: str,
    clock: Clock | None = None,
    roster: Roster | None = None,
    students: Iterable[str] = (),
    labs: Collection[str] = (),
) -> dict[str, datetime]:
    """Student -> time, from a CSV file with the columns ``student``, ``time`` and perhaps ``lab``; or from Moodle's
    grading worksheet or Gradescope's list of scores, which say who somebody is by name, number or e-mail address.

    Args:
        clock: reads times without a zone; by default in UTC.
        roster: translates what the file calls people; without one, ``student`` is the folder's name.
        students: of whom there are submissions; a system's own file is searched for them.
        labs: all labs of the course, if they are known: a line of none of them is a slip.

    Raises:
        CourseError: if the file, a column or a time cannot be read, or somebody stands there twice with different
            times; the message names the line.
    """
    clock, table = clock or Clock(), read_table(path)
    header = [" ".join(name.casefold().split()) for name in table.header]
    column = next((header.index(name) for name in TIME_COLUMNS if name in header), None)
    if column is None:
        raise CourseError(f"{path} has no column 'time' (needed: student,time)")
    own = "student" in header and header[column] == "time"
    of_lab = header.index("lab") if "lab" in header else None
    times: dict[int, datetime] = {}  # line -> time
    for line, cells in table.rows:
        if of_lab is not None and cells[of_lab] not in ("", lab):
            if labs and cells[of_lab] not in labs:
                raise CourseError(f"{path}, line {line}: {cells[of_lab]!r} is no lab (labs: {', '.join(sorted(labs))})")
            continue
        if own or cells[column].casefold() not in NO_TIME:
            times[line] = read_time(cells[column], f"{path}, line {line}", clock)
    if own:
        return _by_student(table, header.index("student"), times, roster)
    return _by_anything(table, times, roster, students)


def _by_student(table: Table, column: int, times: dict[int, datetime], roster: Roster | None) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for line, cells in table.rows:
        if line not in times:
            continue
        name = cells[column]
        student = (roster.student(name) if roster else None) or name
        if found.setdefault(student, times[line]) != times[line]:
            raise CourseError(f"{table.path}, line {line}: {name!r} stands there twice, with different times")
    return found


def _by_anything(
    table: Table, times: dict[int, datetime], roster: Roster | None, students: Iterable[str]
) -> dict[str, datetime]:
    theirs, found = roster_of(table), {}
    lines = {student: people[0].line for student, people in theirs.students.items()}
    for student in students:
        people = roster.students.get(student, ()) if roster else ()
        who = next(filter(None, map(theirs.same, people)), None) or (None if people else theirs.student(student))
        if who is not None and lines[who] in times:
            found[student] = times[lines[who]]
    return found
