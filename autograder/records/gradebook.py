"""Writes results where nbgrader's own tools find them: its database, and autograded notebooks.

formgrader, manual grading, late penalties and nbgrader's exports work on these as if ``nbgrader autograde`` had
written them. There is one writer, the grading process.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import functools
import json
import logging
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.dbutil import ALEMBIC_DIR
from nbgrader.preprocessors import AssignLatePenalties, ClearOutput, ComputeChecksums, LockCells, SaveCells
from nbgrader.utils import compute_checksum, determine_grade
from sqlalchemy import create_engine
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

from autograder.errors import CourseError
from autograder.grading.grader import Graded, Row
from autograder.labs.build import NamedStub, release
from autograder.labs.due import TIMESTAMP, Dates, timestamp_beside
from autograder.labs.lab import Lab
from autograder.sandbox.refused import refusals
from autograder.sandbox.walls import WALLS

# nbgrader's models let SQLAlchemy flush early, which SQLAlchemy 2 warns of; nothing is lost by it
warnings.filterwarnings("ignore", category=SAWarning, module="nbgrader")

SECRET = "submission_secret.txt"  # of nbgrader's exchange
LONGEST_BESIDE = 1000  # bytes of its files; they have 30 and 128

COLUMNS = ["student", "lab", "question", "score", "max_score", "status", "message"]


class GradeWriter:
    """Writes one lab's results: the gradebook, ``<output>/<lab>.csv`` and the notebooks that formgrader shows.

    Args:
        output: folder for the csv and nbgrader's ``submitted`` and ``autograded`` folders.
        database: nbgrader's gradebook, an SQLite file.
        dates: when the lab is due and when it was handed in; what they do not say stays as the gradebook has it.

    Raises:
        CourseError: if the file is there and is no gradebook.
    """

    def __init__(self, lab: Lab, output: Path, database: Path, dates: Dates | None = None):
        self.lab, self.output, self.database, self.dates = lab, Path(output), Path(database), dates or Dates()
        self.output.mkdir(parents=True, exist_ok=True)
        self.database.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        self.walls: list[set[str]] = []  # of the sandbox, for every submission that could be read
        self.notes: dict[str, list[str]] = {}  # student -> what was odd about the notebook
        self.refused: dict[str, list[str]] = {}  # student -> what was refused to the answers
        self.late: dict[str, float] = {}  # student -> points that being late costs
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
        path = folder / f"{self.lab.name}.ipynb"
        before = _sources(path)
        nbformat.write(notebook, path)
        _copy_what_the_exchange_laid_beside(graded, folder)
        rows = self._save(graded, notebook, before)
        self._charge_lateness(graded, notebook)
        self.rows += rows
        if not graded.submission.unreadable:
            if graded.walls:  # none are known if the examiner was lost
                self.walls.append(set(graded.walls))
            if graded.submission.answers.notes:
                self.notes[graded.submission.student] = graded.submission.answers.notes
            if refused := refusals([*(row.message for row in graded.rows), *graded.output.values()]):
                self.refused[graded.submission.student] = refused
        return rows

    def _register_lab(self) -> None:
        """Tells the gradebook of the lab's cells and points, as nbgrader's GenerateAssignment does."""
        notebook = copy.deepcopy(self.lab.instructor_notebook)
        try:
            known = {} if self.dates.due is None else {"duedate": self.dates.due}
            _number_new_database(self.database)
            with self._gradebook() as gradebook:
                gradebook.update_or_create_assignment(self.lab.name, **known)
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
            # its rows say so if it cannot be read; nbgrader's collect has put it into this very folder
            with contextlib.suppress(PermissionError, shutil.SameFileError):
                shutil.copyfile(graded.submission.path, folder / f"{self.lab.name}.ipynb")

    def _save(self, graded: Graded, notebook: NotebookNode, before: dict[str, str]) -> list[Row]:
        """Puts grades and comments into the gradebook, by the rules of nbgrader's SaveAutoGrades but all in one
        transaction; that takes one for each cell, and a tenth of a second for all.

        Written questions get zero where there is nothing to read; a person's grade stays, and goes into the rows. It
        needs another look only if the answer is not what it was ``before``.
        """
        student = nbgrader_id(graded.submission.student)
        self._register_submission(graded, student)
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
            looked_at = not grade.needs_manual_grade and before.get(question) == cells[question].source
            by_hand = grade.auto_score is None or grade.manual_score is not None
            grade.needs_manual_grade = by_hand and not (grade.manual_score is not None and looked_at)
            if grade.auto_score is None and row.status in ("missing", "unreadable", "not attempted"):
                grade.auto_score, grade.needs_manual_grade = 0.0, False
            if grade.manual_score is not None:
                told = f"{question}: by a person"
                score = grade.manual_score + (grade.extra_credit or 0.0)
                rows[question] = replace(row, score=score, status="graded by hand", message=told, public=told)
            elif grade.extra_credit:
                rows[question] = replace(row, score=row.score + grade.extra_credit)
        self.gradebook.db.commit()
        return list(rows.values())

    def _register_submission(self, graded: Graded, student: str) -> None:
        """Tells the gradebook that there is a submission, and its dates as far as they are known."""
        name, path = graded.submission.student, graded.submission.path
        handed_in = self.dates.handed_in.get(name)
        if handed_in is None and path is not None:
            handed_in, problem = timestamp_beside(path)
            graded.submission.answers.notes += [problem] if problem else []
        self.gradebook.update_or_create_student(student)
        known = {} if handed_in is None else {"timestamp": handed_in}
        submission = self.gradebook.update_or_create_submission(self.lab.name, student, **known)
        if name in self.dates.extensions:
            if submission.assignment.duedate is None:
                raise CourseError(f"{name} has an extension, but {self.lab.name} has no due date: say --due TIME")
            submission.extension = self.dates.extensions[name] - submission.assignment.duedate

    def _charge_lateness(self, graded: Graded, notebook: NotebookNode) -> None:
        """Late penalties, by nbgrader's own step and plugin; one that stands there stays if no dates are known."""
        student = nbgrader_id(graded.submission.student)
        submission = self.gradebook.find_submission(self.lab.name, student)
        if submission.duedate is not None and submission.timestamp is not None:
            self.gradebook.db.commit()
            step = AssignLatePenalties(config=self._config)
            step.log = logging.Logger("nbgrader", logging.ERROR)  # it warns of every late submission
            step.preprocess(notebook, {"nbgrader": self._resources["nbgrader"] | {"student": student}})
        saved = self.gradebook.find_submission_notebook(self.lab.name, self.lab.name, student)
        if saved.late_submission_penalty:
            self.late[graded.submission.student] = saved.late_submission_penalty
        self.gradebook.db.commit()

    @functools.cached_property
    def _config(self) -> Config:
        """What the course's ``nbgrader_config.py`` says, of late penalties for one."""
        name = "nbgrader_config.py"
        if not (self.lab.root / name).is_file():
            return Config()
        return PyFileConfigLoader(name, path=str(self.lab.root)).load_config()

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
        answers, what was odd about notebooks, what was refused to answers, how many seconds each question took whom,
        and what lateness cost."""
        stood = [wall for wall in WALLS if self.walls and all(wall in walls for walls in self.walls)]
        took: dict[str, dict[str, float]] = {}
        for row in sorted(self.rows, key=lambda row: row.student):
            if row.seconds:
                took.setdefault(row.question, {})[row.student] = row.seconds
        run = {
            "walls": stood,
            "notes": dict(sorted(self.notes.items())),
            "refused": dict(sorted(self.refused.items())),
            "took": took,
            "late": dict(sorted(self.late.items())),
        }
        path = self.output / f"{self.lab.name}.run.json"
        path.write_text(json.dumps(run, indent=1), encoding="utf-8")


def _number_new_database(path: Path) -> None:
    """Notes in a new gradebook which version of nbgrader's tables it will have. nbgrader would start the program
    ``alembic`` to ask for the number, which takes seconds."""
    if path.is_file() and path.stat().st_size:
        return
    engine = create_engine(f"sqlite:///{path.resolve()}")
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(ALEMBIC_DIR), "heads")
    engine.dispose()


def _copy_what_the_exchange_laid_beside(graded: Graded, folder: Path) -> None:
    """Time and secret of a submission that came by nbgrader's exchange, which hands feedback back by them."""
    if graded.submission.path is None:
        return
    for name in (TIMESTAMP, SECRET):
        source = graded.submission.path.parent / name
        if source.is_file() and not source.is_symlink():
            with contextlib.suppress(PermissionError), source.open("rb") as file:
                (folder / name).write_bytes(file.read(LONGEST_BESIDE))


def _sources(path: Path) -> dict[str, str]:
    """The cells of a notebook that was written here, by id; none if there is none yet."""
    return {cell["id"]: cell.source for cell in nbformat.read(path, 4).cells} if path.is_file() else {}


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


def late_penalties(output: Path) -> dict[tuple[str, str], float]:
    """Points that lateness costs, by student and lab, as ``<output>/<lab>.run.json`` has them."""
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(output).glob("*.run.json"))}
    return {
        (student, path.name.removesuffix(".run.json")): points
        for path, run in files.items()
        for student, points in run.get("late", {}).items()
    }


def totals(rows: pd.DataFrame, late: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Points of each student in each lab, less `late_penalties`, and of all labs together: index student, one column
    per lab and ``total``.
    """
    table = rows.pivot_table(index="student", columns="lab", values="score", aggfunc="sum")
    for (student, lab), points in late.items():
        table.loc[student, lab] -= points
    table["total"] = table.sum(axis=1)
    return table
