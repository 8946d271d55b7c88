"""Grades as the files that Canvas, Moodle and Gradescope import: a table of our own, or one that the system exported.

`new_table` writes the columns that a system asks for; `fill` puts points into the system's own file, with its names and
ids, and changes nothing else in it. Everybody of the roster is in it, and the people of a group each have its points;
who is graded and in neither is returned by name. Names come from strangers, and spreadsheets run what begins with
= + - @: such texts get an apostrophe in a table of ours.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.errors import CourseError
from autograder.labs.lab import Lab
from autograder.records.roster import Person, Roster, read_roster
from autograder.records.rows import Records
from autograder.records.tables import Table, read_table
from autograder.sandbox.strangers import NUMBER, visible_cell

SYSTEMS = {
    "canvas": {"Student": "name", "ID": "id", "SIS User ID": "sis", "SIS Login ID": "login", "Section": "section"},
    "moodle": {"Email address": "email", "First name": "name"},
    "gradescope": {"Email": "email", "Name": "name", "SID": "sis"},
}
"""System -> the columns of its file, and what of a `Person` fills each."""

KEYS = {"canvas": "id", "moodle": "email", "gradescope": "email"}
"""What of a `Person` a system finds its students by."""

POSSIBLE = "    Points Possible"  # Canvas's second line begins so

GRADE = ("grade", "bewertung", "note", "calificación")
COMMENTS = ("feedback comments", "feedback als kommentar", "feedback par commentaires")
MAXIMUM = ("maximum grade", "bestwertung", "note maximale", "calificación máxima")
LOCKED = ("grade can be changed", "bewertung kann geändert werden")


@dataclass
class Export:
    """A table to be written, and what is to be told of it."""

    header: list[str]
    rows: list[list[str]]
    students: int
    unknown: list[str] = field(default_factory=list)  # graded, but not in the list of people
    ungraded: list[str] = field(default_factory=list)  # in the list, but nothing graded
    notes: list[str] = field(default_factory=list)
    separator: str = ","
    encoding: str = "utf-8"


class Points:
    """What goes into the cells.

    Args:
        known: labs by their names, for titles; a lab that is not there goes by its name.
        zero: whether what was not handed in counts 0; else the cell stays empty, which systems take for "no grade".
    """

    def __init__(self, records: Records, known: Mapping[str, Lab], zero: bool = False):
        self.records, self.labs, self.known, self.zero = records, records.labs, known, zero
        self.totals, self.largest = records.totals(), records.largest

    @property
    def students(self) -> list[str]:
        """Who has grades in any of the labs."""
        return list(self.totals.index)

    def cell(self, student: str | None, lab: str) -> str:
        points = self.totals[lab].get(student, float("nan")) if student is not None else float("nan")
        return f"{points:g}" if points == points else "0" if self.zero else ""

    def title(self, lab: str) -> str:
        return str(self.known[lab].settings.get("title", "")) if lab in self.known else ""

    def comments(self, student: str | None, lab: str) -> str:
        """What a person wrote, exercise by exercise."""
        own = self.records.submissions.get((student or "", lab))
        titles = self.known[lab].titles if lab in self.known else {}
        return "\n".join(f"{titles.get(cell, cell)}: {text}" for cell, text in (own.comments if own else {}).items())


def new_table(points: Points, system: str, roster: Roster, comments: bool = False) -> Export:
    """A table with a line for everybody of the roster.

    Raises:
        CourseError: if somebody lacks what the system finds people by.
    """
    known, unknown = _graded(points, roster)
    columns, key = SYSTEMS[system], KEYS[system]
    labs = points.labs
    header = [*columns, *labs]
    if system == "gradescope":
        header += [f"{lab} - Max Points" for lab in labs]
    if comments:
        header += [f"{lab} feedback" for lab in labs]
    rows, notes = [], list(roster.notes)
    if system == "canvas":
        rows.append([POSSIBLE, *[""] * (len(columns) - 1), *[f"{points.largest[lab]:g}" for lab in labs]])
    for person in roster.people:
        if not getattr(person, key):
            raise CourseError(f"{roster.path}, line {person.line}: {person.student} has no {key}, which {system} needs")
        who = [getattr(person, source) for source in columns.values()]
        student = known.get(person)
        cells = [points.cell(student, lab) for lab in labs]
        if system == "gradescope":
            cells += [f"{points.largest[lab]:g}" for lab in labs]
        if comments:
            cells += [points.comments(student, lab) for lab in labs]
        row = [visible_cell(cell) for cell in [*who, *cells]]
        if row != [*who, *cells]:
            notes.append(f"{person.student}: a text that a spreadsheet would obey got an apostrophe, or its escape")
        rows.append(row)
    absent = [person.student for person in roster.people if person not in known]
    return Export(header, rows, len(roster.people), unknown, list(dict.fromkeys(absent)), notes)


def fill(
    points: Points, system: str, path: Path, roster: Roster | None, chosen: Mapping[str, str], comments: bool = False
) -> Export:
    """Puts points into a file that the system exported: Canvas's gradebook, Moodle's grading worksheet.

    Args:
        roster: of the course, if there is one; without it the people of the file are looked for by its own names.
        chosen: lab -> column, where it was said.

    Raises:
        CourseError: if it is not clear which column is meant, or the file is no such file.
    """
    table, theirs = read_table(path), read_roster(path)
    if system == "canvas" and not comments:
        kept, columns = _canvas_columns(table, points, chosen)
    elif system == "moodle" and len(points.labs) == 1:
        kept, columns = list(range(len(table.header))), {points.labs[0]: _column(table, GRADE)}
    elif system == "moodle":
        raise CourseError("Moodle has a worksheet for each assignment: name the one lab that it is of")
    elif system == "canvas":
        raise CourseError("Canvas takes no comments with points: `course feedback LAB --for canvas` packs pages for it")
    else:
        raise CourseError(f"{system} exports no file that could be filled: leave --into away")
    student_of, unknown = _their_students(points, theirs, roster)
    by_line = {person.line: student_of.get(person) for person in theirs.people}
    notes = [*theirs.notes, *_other_maximum(table, points, columns)]
    rows, absent = [], []
    for line, cells in table.rows:
        cells = [POSSIBLE, *cells[1:]] if cells[0] == POSSIBLE.strip() else list(cells)
        if line in by_line:
            student = by_line[line]
            if locked := _is_locked(table, cells):
                notes.append(f"{cells[0]}: {locked}; left as it is")
            for lab in points.labs if not locked else ():
                cells[columns[lab]] = points.cell(student, lab)
                if comments:
                    cells[_column(table, COMMENTS)] = points.comments(student, lab)
            if student is None:
                absent.append(next(p.student for p in theirs.people if p.line == line))
        rows.append([cells[number] for number in kept])
    header = [table.header[n] for n in kept]
    encoding = table.encoding if table.encoding.startswith("utf") else "utf-8"
    return Export(header, rows, len(theirs.people), unknown, absent, notes, table.separator, encoding)


def waiting(records: Records) -> str:
    """Who has answers that wait for a person, in words; empty if nobody has."""
    rows = records.rows[records.rows["status"] == "by hand"]
    if rows.empty:
        return ""
    students = list(dict.fromkeys(rows["student"]))
    named = ", ".join(students[:5]) + (f" and {len(students) - 5} more" if len(students) > 5 else "")
    return f"{len(rows)} answers of {len(students)} students wait for a person ({named})"


def write_export(made: Export, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=made.encoding) as file:
        csv.writer(file, delimiter=made.separator).writerows([made.header, *made.rows])


def _graded(points: Points, roster: Roster) -> tuple[dict[Person, str], list[str]]:
    """Person -> who they are in the gradebook, for all who are graded; and those in the gradebook who are nobody."""
    known, unknown = {}, []
    for student in points.students:
        name = roster.student(student)
        for person in roster.students.get(name, ()) if name is not None else ():
            known[person] = student
        if name is None:
            unknown.append(student)
    return known, unknown


def _their_students(points: Points, theirs: Roster, roster: Roster | None) -> tuple[dict[Person, str], list[str]]:
    """The same for the people of a system's file."""
    if roster is None:
        return _graded(points, theirs)
    graded, unknown = _graded(points, roster)
    known: dict[Person, str] = {}
    for person, student in graded.items():
        found = theirs.same(person)
        if found is None:
            unknown.append(student)
        for them in theirs.students.get(found, ()) if found is not None else ():
            known[them] = student
    return known, list(dict.fromkeys(unknown))


def _canvas_columns(table: Table, points: Points, chosen: Mapping[str, str]) -> tuple[list[int], dict[str, int]]:
    """The columns that are written, and which of them a lab's points go to."""
    about = [n for n, name in enumerate(table.header) if name in SYSTEMS["canvas"] or name == "Integration ID"]
    assignments = {name: n for n, name in enumerate(table.header) if re.search(r"\(\d+\)$", name)}
    columns = {}
    for lab in points.labs:
        wanted, title = chosen.get(lab), points.title(lab)
        found = [name for name in assignments if name == wanted or (wanted is None and _means(name, lab, title))]
        if len(found) != 1:
            there = "; ".join(assignments) or "none"
            told = "no column" if not found else f"{len(found)} columns"
            raise CourseError(
                f"{table.path} has {told} for {lab}: say --column '{lab}=NAME' (its assignments: {there})"
            )
        columns[lab] = assignments[found[0]]
    if len(set(columns.values())) < len(columns):
        raise CourseError(f"{table.path}: two labs would go into one column")
    return [*about, *columns.values()], columns


def _means(column: str, lab: str, title: str) -> bool:
    """Whether an assignment's name is the lab's: name, title or number, in any case of letters and with any signs."""
    number = lab.partition("_")[0]
    names = {lab, title, f"lab {number}", f"lab {number} {title}", f"{number} {title}"}
    if number.isdigit():
        names |= {f"lab {int(number)}", f"lab {int(number)} {title}", f"{int(number)} {title}"}
    return _words(re.sub(r"\(\d+\)$", "", column)) in {_words(name) for name in names if name}


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _column(table: Table, names: Iterable[str]) -> int:
    found = [n for n, name in enumerate(table.header) if name.casefold() in names]
    if len(found) != 1:
        raise CourseError(f"{table.path} has no column {next(iter(names))!r}: is it Moodle's grading worksheet?")
    return found[0]


def _is_locked(table: Table, cells: list[str]) -> str:
    """Why Moodle would not take a grade; empty if it would."""
    for number, name in enumerate(table.header):
        if name.casefold() in LOCKED and cells[number].casefold() in ("no", "nein"):
            return "its grade cannot be changed in Moodle"
    return ""


def _other_maximum(table: Table, points: Points, columns: Mapping[str, int]) -> list[str]:
    """Labs of which the system thinks that they have another number of points."""
    notes = []
    for lab, column in columns.items():
        maximum = next((n for n, name in enumerate(table.header) if name.casefold() in MAXIMUM), None)
        lines = [cells for _, cells in table.rows if maximum is not None or cells[0].casefold() == "points possible"]
        told = {cells[column if maximum is None else maximum].replace(",", ".") for cells in lines}
        for text in sorted(told - {""}):
            if NUMBER.fullmatch(text) and float(text) != points.largest[lab]:
                notes.append(f"{lab}: {points.largest[lab]:g} points here, {float(text):g} in {table.path}; not scaled")
    return notes
