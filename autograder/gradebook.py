"""Writes results where nbgrader's own tools find them: its database, and autograded notebooks.

formgrader, manual grading, late penalties and nbgrader's exports work on these as if ``nbgrader autograde`` had
written them. There is one writer, the grading process.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ClearOutput, ComputeChecksums, LockCells, SaveCells
from nbgrader.utils import compute_checksum, determine_grade
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from autograder.build import NamedStub, release
from autograder.errors import CourseError
from autograder.grading import Graded, Row
from autograder.lab import Lab
from autograder.sandbox import WALLS

# nbgrader runs `alembic` by name when it makes a database; it stands beside the interpreter, which need not be on PATH
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

# nbgrader's models let SQLAlchemy flush early, which SQLAlchemy 2 warns of; nothing is lost by it
warnings.filterwarnings("ignore", category=SAWarning, module="nbgrader")

COLUMNS = ["student", "lab", "question", "score", "max_score", "status", "message"]


class GradeWriter:
    """Writes one lab's results: the gradebook, ``<output>/<lab>.csv`` and the notebooks that formgrader shows.

    Args:
        output: folder for the csv and nbgrader's ``submitted`` and ``autograded`` folders.
        database: nbgrader's gradebook, an SQLite file.

    Raises:
        CourseError: if the file is there and is no gradebook.
    """

    def __init__(self, lab: Lab, output: Path, database: Path):
        self.lab, self.output, self.database = lab, Path(output), Path(database)
        self.output.mkdir(parents=True, exist_ok=True)
        self.database.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        self.walls: list[set[str]] = []  # of the sandbox, for every submission that could be read
        self.notes: dict[str, list[str]] = {}  # student -> what was odd about the notebook
        self._resources = {
            "nbgrader": {"notebook": lab.name, "assignment": lab.name, "db_url": f"sqlite:///{self.database.resolve()}"}
        }
        self._register_lab()

    def __enter__(self) -> GradeWriter:
        self.gradebook = self._gradebook()
        notebook = self.gradebook.find_notebook(self.lab.name, self.lab.name)
        self.names = {cell.id: cell.name for cell in [*notebook.grade_cells, *notebook.solution_cells]}
        self.gradebook.db.commit()  # as after each submission: formgrader is not locked out meanwhile
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.gradebook.close()
        if kind is None:
            self._write_csv()
            self._write_run()

    def add(self, graded: Graded) -> list[Row]:
        """Writes a submission's result. Returns its rows, with a person's grades where there are any."""
        self._copy_submission(graded)
        notebook = autograded_notebook(graded)
        folder = self.output / "autograded" / nbgrader_id(graded.submission.student) / self.lab.name
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{self.lab.name}.ipynb")
        rows = self._save(graded, notebook)
        self.rows += rows
        if not graded.submission.unreadable:
            self.walls.append(set(graded.walls))
            if graded.submission.answers.notes:
                self.notes[graded.submission.student] = graded.submission.answers.notes
        return rows

    def _register_lab(self) -> None:
        """Tells the gradebook of the lab's cells and points, as nbgrader's GenerateAssignment does."""
        notebook = copy.deepcopy(self.lab.instructor_notebook)
        try:
            with self._gradebook() as gradebook:
                gradebook.update_or_create_assignment(self.lab.name)
            for step in (LockCells, NamedStub, ClearOutput, ComputeChecksums, SaveCells):
                notebook, _ = step().preprocess(notebook, copy.deepcopy(self._resources))
        except SQLAlchemyError as error:
            raise CourseError(f"{self.database} is not a gradebook: {error.__cause__ or error}") from error
        except RuntimeError as error:  # nbgrader refuses when cells come or go that submissions refer to
            raise CourseError(
                f"{self.database} holds grades for another version of {self.lab.name} ({error}): "
                "grade into another gradebook with --gradebook FILE, or delete this one"
            ) from error

    def _gradebook(self) -> Gradebook:
        return Gradebook(self._resources["nbgrader"]["db_url"])

    def _copy_submission(self, graded: Graded) -> None:
        """formgrader lists what lies in ``submitted``."""
        folder = self.output / "submitted" / nbgrader_id(graded.submission.student) / self.lab.name
        folder.mkdir(parents=True, exist_ok=True)
        if graded.submission.path is not None:
            shutil.copyfile(graded.submission.path, folder / f"{self.lab.name}.ipynb")

    def _save(self, graded: Graded, notebook: NotebookNode) -> list[Row]:
        """Puts grades and comments into the gradebook, by the rules of nbgrader's SaveAutoGrades but all in one
        transaction; that takes one for each cell, and a tenth of a second for all.

        Written questions get zero where there is nothing to read; a person's grade stays, and goes into the rows.
        """
        student = nbgrader_id(graded.submission.student)
        self.gradebook.update_or_create_student(student)
        self.gradebook.update_or_create_submission(self.lab.name, student)
        saved = self.gradebook.find_submission_notebook(self.lab.name, self.lab.name, student)
        cells = {c["id"]: c for c in notebook.cells}
        for comment in saved.comments:
            cell = cells[self.names[comment.cell_id]]
            untouched = cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)
            comment.auto_comment = "No response." if untouched else None
        rows = {row.question: row for row in graded.rows}
        for grade in saved.grades:
            question = self.names[grade.cell_id]
            row = rows[question]
            grade.auto_score, _ = determine_grade(cells[question])
            grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
            if grade.auto_score is None and row.status in ("missing", "unreadable", "not attempted"):
                grade.auto_score, grade.needs_manual_grade = 0.0, False
            if grade.manual_score is not None:
                told = f"{question}: by a person"
                score = grade.manual_score + (grade.extra_credit or 0.0)
                rows[question] = replace(row, score=score, status="graded by hand", message=told, public=told)
        self.gradebook.db.commit()
        return list(rows.values())

    def _write_csv(self) -> None:
        path = self.output / f"{self.lab.name}.csv"
        partial = path.with_suffix(".csv.part")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            order = {question.id: number for number, question in enumerate(self.lab.questions)}
            writer.writerows(vars(r) for r in sorted(self.rows, key=lambda r: (r.student, order[r.question])))
        partial.replace(path)

    def _write_run(self) -> None:
        """Writes ``<lab>.run.json``, what the report tells beside the rows: the walls of the sandbox that stood for all
        answers, what was odd about notebooks, and how many seconds each question took."""
        stood = [wall for wall in WALLS if self.walls and all(wall in walls for walls in self.walls)]
        seconds: dict[str, list[float]] = {}
        for row in self.rows:
            if row.seconds:
                seconds.setdefault(row.question, []).append(row.seconds)
        run = {"walls": stood, "notes": dict(sorted(self.notes.items())), "seconds": seconds}
        path = self.output / f"{self.lab.name}.run.json"
        path.write_text(json.dumps(run, indent=1), encoding="utf-8")


def nbgrader_id(student: str) -> str:
    """The student's name as nbgrader's tools get it: formgrader puts it into pages without escaping it."""
    return re.sub(r"[<>&\"'`%={}]", lambda match: f"%{ord(match[0]):02X}", student)


def autograded_notebook(graded: Graded) -> NotebookNode:
    """The release with the student's answers in it, and with each check's verdict as its output.

    Hidden checks are not in it: nbgrader makes the student's feedback from this notebook.
    """
    notebook = copy.deepcopy(release(graded.submission.lab))
    rows = {row.question: row for row in graded.rows}
    for cell in notebook.cells:
        identity = cell["id"]
        if identity in graded.submission.answers.sources:
            cell.source = graded.submission.answers.sources[identity]
        if cell.cell_type != "code":
            continue
        if text := graded.output.get(identity):
            cell.outputs = [new_output("stream", name="stdout", text=text)]
        if identity in rows:
            cell.outputs = [_verdict(rows[identity])]
    return notebook


def _verdict(row: Row) -> NotebookNode:
    """nbgrader takes an error output for zero points and anything else for all of them."""
    if row.status == "passed":
        return new_output("stream", name="stdout", text=f"✓ passed: {row.score:g} of {row.max_score:g} points\n")
    return new_output("error", ename=row.status, evalue=row.public, traceback=[f"✗ {row.status}: {row.public}"])


def previous_rows(lab: Lab, output: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Score and status of each student and question as ``<output>/<lab>.csv`` has them; empty if there is none."""
    path = Path(output) / f"{lab.name}.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype={"student": str}, keep_default_na=False)
    return {(r.student, r.question): (f"{r.score:g}", r.status) for r in table.itertuples()}


def read_csvs(output: Path) -> pd.DataFrame:
    """All rows in ``<output>/*.csv``.

    Raises:
        CourseError: if nothing was graded into that folder.
    """
    files = sorted(Path(output).glob("*.csv"))
    if not files:
        raise CourseError(f"there are no grades in {output}: run `course grade` first")
    return pd.concat([pd.read_csv(f, dtype={"student": str}, keep_default_na=False) for f in files], ignore_index=True)


def totals(rows: pd.DataFrame) -> pd.DataFrame:
    """Points of each student in each lab, and of all labs together: index student, one column per lab and ``total``."""
    table = rows.pivot_table(index="student", columns="lab", values="score", aggfunc="sum")
    table["total"] = table.sum(axis=1)
    return table
