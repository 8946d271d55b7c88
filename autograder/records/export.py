"""Grades as the CSV files that Canvas, Moodle and Gradescope import.

A roster maps the names of students' folders to what the system calls its students. Nobody is dropped: who is graded and
not in the roster is returned by name. Names come from strangers, and spreadsheets run what begins with = + - @: such
texts get an apostrophe in front.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autograder.errors import CourseError
from autograder.records.rows import Records

SYSTEMS = {
    "canvas": {"ID": "id", "Student": "name", "SIS User ID": "sis", "SIS Login ID": "login", "Section": "section"},
    "moodle": {"Email address": "email", "First name": "name"},
    "gradescope": {"Email": "email", "Name": "name", "SID": "sis"},
}
"""System -> its columns, and the roster's column that fills each. The first one identifies a student."""


@dataclass(frozen=True)
class Export:
    """A table to be written, and who could not be in it."""

    table: pd.DataFrame
    unknown: list[str]  # graded, but not in the roster
    ungraded: list[str]  # in the roster, but nothing graded


def read_roster(path: Path, system: str) -> dict[str, dict[str, str]]:
    """A CSV file with the column ``student`` (the folder's name) and those that the system needs.

    Raises:
        CourseError: if the file cannot be read, lacks a column, or names somebody twice.
    """
    needed = next(iter(SYSTEMS[system].values()))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{path} cannot be read: {error}") from error
    for column in ("student", needed):
        if not rows or column not in rows[0]:
            raise CourseError(f"{path} has no column {column!r} ({system} needs: student,{needed})")
    for column in ("student", needed):
        values = [row[column] for row in rows]
        if twice := sorted({v for v in values if v and values.count(v) > 1}):
            raise CourseError(f"{path}: the {column} {twice[0]!r} stands there twice")
    if empty := [row["student"] for row in rows if not row[needed]]:
        raise CourseError(f"{path}: {empty[0]} has no {needed}")
    return {row["student"]: row for row in rows}


def export(records: Records, system: str, roster: dict[str, dict[str, str]]) -> Export:
    """
    Args:
        records: all grades.
        system: one of `SYSTEMS`.
        roster: see `read_roster`.
    """
    points, most = records.totals().drop(columns="total"), records.largest
    known = [student for student in points.index if student in roster]
    columns = {name: [roster[s].get(source) or "" for s in known] for name, source in SYSTEMS[system].items()}
    table = pd.DataFrame({name: [harmless(v) for v in values] for name, values in columns.items()})
    for lab in points.columns:
        table[lab] = [points.loc[student, lab] for student in known]
        if system == "gradescope":
            table[f"{lab} - Max Points"] = float(most[lab])
    if system == "canvas":  # its second line says how many points there are
        line = {"ID": "", "Student": "    Points Possible"} | {lab: float(most[lab]) for lab in points.columns}
        table = pd.concat([pd.DataFrame([line]), table], ignore_index=True).reindex(columns=table.columns)
        table = table[["Student", "ID", *[c for c in table.columns if c not in ("Student", "ID")]]]
    unknown = [student for student in points.index if student not in roster]
    return Export(table, unknown, sorted(roster.keys() - set(points.index)))


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n") else text


def write_export(made: Export, path: Path) -> None:
    """Writes the table; numbers that are missing stay empty, which the systems take for "no grade"."""
    made.table.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, encoding="utf-8")
