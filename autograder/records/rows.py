"""What became of every question of everybody, read from the gradebook: the one place where grades are kept.

nbgrader's tables hold points, what a person gave, comments, dates and penalties. What they have no place for (status,
message, time, oddities) stands in a table of ours in the same file, a line for each submission. So one transaction
writes both, one copy saves both, and what a person types in formgrader is seen at once.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.errors import CourseError
from autograder.sandbox.strangers import visible_cell
from autograder.sandbox.walls import WALLS

if TYPE_CHECKING:
    import pandas as pd

GRADEBOOK = "gradebook.db"
COLUMNS = ["student", "lab", "question", "score", "max_score", "status", "message"]

TABLE = """CREATE TABLE IF NOT EXISTS course_submission (
    student TEXT NOT NULL, lab TEXT NOT NULL, nbgrader_id TEXT NOT NULL, told TEXT NOT NULL,
    PRIMARY KEY (student, lab))"""
"""``told`` is JSON: rows (question, max_score, status, message, public, seconds, answer), notes, refused, walls and
version."""

DUE_TABLE = "CREATE TABLE IF NOT EXISTS course_due (lab TEXT PRIMARY KEY, zone TEXT NOT NULL)"
"""Labs whose due date ``--due`` said, which nbgrader's table keeps in UTC, and the zone in which that was."""

SUBMISSIONS = """
SELECT c.student, c.lab, c.told, n.id, n.late_submission_penalty, s.timestamp, a.duedate, s.extension
FROM course_submission c
JOIN assignment a ON a.name = c.lab
JOIN submitted_assignment s ON s.assignment_id = a.id AND s.student_id = c.nbgrader_id
JOIN submitted_notebook n ON n.assignment_id = s.id
ORDER BY c.lab, c.student"""

GRADES = """
SELECT g.notebook_id, b.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade
FROM grade g JOIN base_cell b ON b.id = g.cell_id"""

COMMENTS = """
SELECT c.notebook_id, b.name, c.manual_comment
FROM comment c JOIN base_cell b ON b.id = c.cell_id WHERE c.manual_comment IS NOT NULL AND c.manual_comment != ''"""


@dataclass(frozen=True)
class Submitted:
    """One submission as the gradebook has it; times are in UTC.

    Attributes:
        due: this student's own, extension included.
        penalty: points that lateness costs.
        version: of the lab that it was graded with; see `autograder.records.gradebook.lab_version`.
    """

    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    walls: list[str] | None = None
    version: str = ""
    handed_in: datetime | None = None
    due: datetime | None = None
    penalty: float = 0.0
    comments: dict[str, str] = field(default_factory=dict)  # cell -> what a person wrote

    @property
    def late(self) -> timedelta:
        """By how much it came too late; zero if it did not, or if a date is not known."""
        if self.handed_in is None or self.due is None:
            return timedelta()
        return max(self.handed_in - self.due, timedelta())


def late_by(late: timedelta) -> str:
    """In words that fit a table: ``1 d 3 h``, ``2 h 5 min``, ``1 min``; begun minutes count. Empty for none."""
    minutes = -(-int(late.total_seconds()) // 60)
    hours, days = minutes // 60 % 24, minutes // (24 * 60)
    if not minutes:
        return ""
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def lateness(about: Submitted) -> str:
    """By how much a submission came too late, and what that costs. Empty if it did not, and nothing is charged."""
    points = "point" if about.penalty == 1 else "points"
    cost = f"-{about.penalty:g} {points}" if about.penalty else "costs nothing"
    if about.late:
        return f"{late_by(about.late)} late, {cost}"
    return f"{cost} for lateness" if about.penalty else ""


@dataclass(frozen=True)
class Records:
    """All grades of a folder.

    Attributes:
        rows: by lab and student, questions in the lab's order; `COLUMNS`, and ``public`` (the message as the student
            may read it), ``seconds`` and ``answer`` (which stands for what was graded).
        submissions: (student, lab) -> the rest.
    """

    rows: pd.DataFrame
    submissions: dict[tuple[str, str], Submitted]

    @cached_property
    def labs(self) -> list[str]:
        return sorted(self.rows["lab"].unique())

    def of(self, lab: str) -> pd.DataFrame:
        return self.rows[self.rows["lab"] == lab]

    @property
    def penalties(self) -> dict[tuple[str, str], float]:
        """Points that lateness costs, by student and lab."""
        return {key: own.penalty for key, own in self.submissions.items() if own.penalty}

    @property
    def largest(self) -> pd.Series:
        """The points that each lab has."""
        return self.rows.drop_duplicates(["lab", "question"]).groupby("lab")["max_score"].sum()

    def totals(self) -> pd.DataFrame:
        """Points of each student in each lab, less what lateness costs, and of all labs together: index student, one
        column per lab and ``total``. NaN where a student has no rows in a lab."""
        table = self.rows.pivot_table(index="student", columns="lab", values="score", aggfunc="sum")
        for (student, lab), points in self.penalties.items():
            table.loc[student, lab] -= points
        table["total"] = table.sum(axis=1)
        return table

    def run(self, lab: str) -> dict[str, Any]:
        """What the report tells of a lab beside its rows: the walls of the sandbox that stood for all answers, what was
        odd about notebooks, what was refused to answers, how many seconds each question took whom, who was late by
        how much, and what that cost."""
        own = {student: s for (student, name), s in self.submissions.items() if name == lab}
        walls = [s.walls for s in own.values() if s.walls is not None]
        took: dict[str, dict[str, float]] = {}
        for row in self.of(lab).itertuples():
            if row.seconds:
                took.setdefault(row.question, {})[row.student] = row.seconds
        return {
            "walls": [wall for wall in WALLS if all(wall in stood for stood in walls)] if walls else None,
            "notes": {student: s.notes for student, s in own.items() if s.notes},
            "refused": {student: s.refused for student, s in own.items() if s.refused},
            "took": took,
            "late": {student: s.penalty for student, s in own.items() if s.penalty},
            "late_by": {student: late_by(s.late) for student, s in own.items() if s.late},
        }


def read_records(output: Path, labs: Iterable[str] = ()) -> Records:
    """The grades in ``<output>/gradebook.db``, of some labs if any are named.

    Raises:
        CourseError: if there are none, or if the file is no gradebook.
    """
    import pandas as pd  # takes longer than all else that a command loads

    path = Path(output) / GRADEBOOK
    labs = set(labs)
    if not path.is_file() and (files := sorted(Path(output).glob("*.csv"))):
        return _copied(files, labs)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("BEGIN")  # the three tables as of one moment
            submissions = database.execute(SUBMISSIONS).fetchall()
            grades: dict[str, dict[str, tuple]] = {}
            for notebook, question, *grade in database.execute(GRADES):
                grades.setdefault(notebook, {})[question] = tuple(grade)
            comments: dict[str, dict[str, str]] = {}
            for notebook, cell, text in database.execute(COMMENTS):
                comments.setdefault(notebook, {})[cell] = text
    except sqlite3.OperationalError as error:
        if path.is_file() and "no such table" not in str(error):
            raise CourseError(f"{path} cannot be read: {error}") from error
        submissions = []
    except sqlite3.DatabaseError as error:
        raise CourseError(f"{path} is not a gradebook: {error}") from error
    rows, known = [], {}
    for student, lab, told, notebook, penalty, *dates in submissions:
        if labs and lab not in labs:
            continue
        told = json.loads(told)
        given = grades.get(notebook, {})
        rows += [_row(student, lab, row, given.get(row["question"])) for row in told["rows"]]
        known[student, lab] = _submitted(told, penalty, comments.get(notebook, {}), *map(_time, dates))
    if not rows:
        named = f" of {', '.join(sorted(labs))}" if labs else ""
        raise CourseError(f"there are no grades{named} in {output}: run `course grade` first")
    return Records(pd.DataFrame(rows), known)


def zone_of_due(output: Path, lab: str) -> str:
    """The zone of the due date that ``--due`` said in an earlier run; empty if none did."""
    path = Path(output) / GRADEBOOK
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT zone FROM course_due WHERE lab = ?", [lab]).fetchone()
    except sqlite3.DatabaseError:  # there is no gradebook, or an earlier kit's; what is wrong with it, others tell
        return ""
    return found[0] if found else ""


def _copied(files: list[Path], labs: set[str]) -> Records:
    """The rows of a folder that has only the copies for spreadsheets, since it was passed on without the gradebook."""
    import pandas as pd

    rows = pd.concat([pd.read_csv(f, dtype={"student": str}, keep_default_na=False) for f in files], ignore_index=True)
    if missing := [column for column in COLUMNS if column not in rows]:
        raise CourseError(f"{files[0].parent} holds no gradebook, and its files have no column {missing[0]!r}")
    rows = rows[rows["lab"].isin(labs)] if labs else rows
    if rows.empty:
        raise CourseError(f"there are no grades of {', '.join(sorted(labs))} in {files[0].parent}")
    return Records(rows.assign(public=rows["message"], seconds=0.0, answer=""), {})


def _row(student: str, lab: str, row: dict[str, Any], grade: tuple | None) -> dict[str, Any]:
    """A row as the grader left it, with what persons have decided since."""
    question = row["question"]
    shown = {"student": student, "lab": lab, "question": question, "score": 0.0}
    shown |= {key: row[key] for key in ("max_score", "status", "message", "public", "seconds", "answer")}
    if grade is None:
        return shown
    auto, by_hand, extra, waiting = grade
    if waiting:
        told = f"{question} waits for a person's grade"
        if by_hand is not None:
            told = f"{question} has changed since a person gave it {by_hand:g} points: it {told[len(question) + 1 :]}"
        return shown | {"status": "by hand", "message": told, "public": told}
    if by_hand is not None:
        told = f"{question}: by a person"
        return shown | {
            "score": by_hand + (extra or 0.0),
            "status": "graded by hand",
            "message": told,
            "public": told,
        }
    return shown | {"score": (auto or 0.0) + (extra or 0.0)}


def _submitted(told: dict, penalty: float | None, comments: dict, handed_in: Any, due: Any, longer: Any) -> Submitted:
    if due is not None and longer is not None:
        due += longer - datetime(1970, 1, 1)  # how SQLAlchemy keeps an interval
    about = {key: told[key] for key in ("notes", "refused", "walls", "version")}
    return Submitted(**about, handed_in=handed_in, due=due, penalty=penalty or 0.0, comments=comments)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def write_csv(output: Path, lab: str) -> None:
    """Writes a lab's rows to ``<output>/<lab>.csv``, a copy for spreadsheets that nothing here reads."""
    path = Path(output) / f"{lab}.csv"
    try:
        records = read_records(output, [lab])
    except CourseError:  # nobody is left
        path.unlink(missing_ok=True)
        return
    partial = path.with_suffix(".csv.part")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in records.rows.to_dict("records"):
            writer.writerow({name: visible_cell(v) if isinstance(v, str) else v for name, v in row.items()})
    partial.replace(path)
