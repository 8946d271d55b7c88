"""Grades without grading: in memory, or in a gradebook, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from autograder.grading.grader import Graded, Row, Submission
from autograder.grading.submission import Answers
from autograder.labs.due import Dates
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.rows import COLUMNS, Records, Submitted


def records_of(rows: list[tuple], **submissions: dict[str, Submitted]) -> Records:
    """
    Args:
        rows: with what `COLUMNS` says.
        submissions: lab -> student -> what is known beside the rows.
    """
    table = pd.DataFrame(rows, columns=COLUMNS)
    told = {(student, lab): own for lab, students in submissions.items() for student, own in students.items()}
    return Records(table.assign(public=table["message"], seconds=0.0, answer=""), told)


def write_grades(lab: Lab, output: Path, students: dict[str, dict[str, str]], dates: Dates | None = None) -> None:
    """Puts submissions into the gradebook: student -> question -> status, "passed" where none is given ("by hand" of
    written ones). Every answer is the reference's with the status behind it."""
    with GradeWriter(lab, output, dates) as writer:
        for student, statuses in students.items():
            answers = {c.id: f"{c.source}\n# {statuses.get(c.id, '')}" for c in lab.answers}
            rows = []
            for question in lab.questions:
                status = statuses.get(question.id, "by hand" if question.kind == "written" else "passed")
                score = question.points * (status == "passed")
                message = "" if status == "passed" else f"{question.id}: {status}"
                rows.append(Row(student, lab.name, question.id, score, question.points, status, message, message))
            writer.add(Graded(Submission(student, lab, Answers(answers)), rows))
