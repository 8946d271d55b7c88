"""When an assignment is due, and when it was handed in; what lateness costs is for nbgrader's plugin to say.

A time is written as in nbgrader, ``2026-11-30 23:59 Europe/Vienna``; without a zone it is UTC.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nbgrader.utils import parse_utc

from autograder.errors import CourseError

TIMESTAMP = "timestamp.txt"  # what nbgrader's exchange lays beside a notebook


@dataclass(frozen=True)
class Dates:
    """What is known of one lab's dates, all in UTC. What is not known stays as the gradebook has it."""

    due: datetime | None = None
    extensions: dict[str, datetime] = field(default_factory=dict)  # student -> due date of their own
    handed_in: dict[str, datetime] = field(default_factory=dict)  # student -> when


def read_time(text: str, where: str) -> datetime:
    """
    Raises:
        CourseError: if it is no time; the message names ``where`` it stands.
    """
    try:
        return parse_utc(text.strip())
    except (ValueError, OverflowError, TypeError):
        raise CourseError(f"{where}: {text!r} is no time (write for instance 2026-11-30 23:59 UTC)") from None


def read_times(path: Path, lab: str) -> dict[str, datetime]:
    """A csv file with the columns ``student`` and ``time``, and perhaps ``lab``.

    Raises:
        CourseError: if the file, a column or a time cannot be read; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := {"student", "time"} - set(rows.fieldnames or ()):
                raise CourseError(f"{path} has no column {sorted(missing)[0]!r} (needed: student,time)")
            return {
                row["student"]: read_time(row["time"] or "", f"{path}, line {rows.line_num}")
                for row in rows
                if row.get("lab") in (None, "", lab)
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{path} cannot be read: {error}") from error


def timestamp_beside(notebook: Path) -> tuple[datetime | None, str]:
    """The time in ``timestamp.txt``, and what is wrong with it, if anything is."""
    path = notebook.parent / TIMESTAMP
    if path.is_symlink() or not path.is_file():
        return None, ""
    try:
        with path.open("rb") as file:
            return read_time(file.read(100).decode(), TIMESTAMP), ""
    except (OSError, UnicodeDecodeError):
        return None, f"{TIMESTAMP} cannot be read"
    except CourseError as error:
        return None, str(error)
