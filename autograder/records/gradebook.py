"""Writes results where nbgrader's own tools find them: its database, and autograded notebooks.

formgrader, manual grading, late penalties and nbgrader's exports work on these as if ``nbgrader autograde`` had
written them. There is one writer, the grading process.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import logging
import re
import secrets
import shutil
import warnings
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.dbutil import ALEMBIC_DIR
from nbgrader.preprocessors import AssignLatePenalties, ClearOutput, ComputeChecksums, LockCells, SaveCells
from nbgrader.utils import compute_checksum, determine_grade
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

from autograder.errors import CourseError
from autograder.grading.grader import Graded, Row
from autograder.labs.build import NamedStub, release
from autograder.labs.cell import Cell
from autograder.labs.due import TIMESTAMP, Dates, timestamp_beside
from autograder.labs.lab import Lab
from autograder.records.rows import DUE_TABLE, GRADEBOOK, TABLE, write_csv
from autograder.sandbox.refused import refusals
from course_utils.checks.notebook import Unreadable, read_content

# nbgrader's models let SQLAlchemy flush early, which SQLAlchemy 2 warns of; nothing is lost by it
warnings.filterwarnings("ignore", category=SAWarning, module="nbgrader")

SECRET = "submission_secret.txt"  # of nbgrader's exchange
LONGEST_BESIDE = 1000  # bytes of its files; they have 30 and 128

LONGEST_FOLDER = 255  # bytes of its name, on most systems

KNOWN = "SELECT told FROM course_submission WHERE student = :s AND lab = :l"
TELL = "INSERT OR REPLACE INTO course_submission (student, lab, nbgrader_id, told) VALUES (:s, :l, :n, :told)"
TELL_DUE = "INSERT OR REPLACE INTO course_due (lab, zone) VALUES (:l, :z)"
FORGET = "DELETE FROM course_submission WHERE student = :s AND lab = :l"


class GradeWriter:
    """Writes one lab's results: nbgrader's gradebook and the notebooks that formgrader shows, and beside them
    ``<output>/<lab>.csv``. Of those who are not graded in this run everything stays.

    Args:
        output: folder for the gradebook and nbgrader's ``submitted`` and ``autograded`` folders.
        dates: when the lab is due and when it was handed in; what they do not say stays as the gradebook has it.

    Raises:
        CourseError: if the gradebook's file is there and is no gradebook.
    """

    def __init__(self, lab: Lab, output: Path, dates: Dates | None = None):
        self.lab, self.output, self.dates = lab, Path(output), dates or Dates()
        self.database = self.output / GRADEBOOK
        self.output.mkdir(parents=True, exist_ok=True)
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
            write_csv(self.output, self.lab.name)

    def add(self, graded: Graded) -> None:
        """Writes a submission's result; a person's grades and comments stay."""
        notebook = autograded_notebook(graded)
        folder = self._folder("autograded", graded.submission.student)
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{self.lab.name}.ipynb")
        handed_in = self._save(graded, notebook)
        self._copy_submission(graded, handed_in)
        _lay_beside(graded.submission.path if self._by_exchange(graded.submission.path) else None, folder, handed_in)
        self._charge_lateness(graded, notebook)

    def forget(self, student: str, submissions: Path | None = None) -> bool:
        """Takes a student out of the lab's grades; the notebook that was handed in stays where it lies.

        Args:
            submissions: where notebooks are graded from; what lies there is not touched.

        Returns:
            Whether there was anything to forget.
        """
        known = {"s": student, "l": self.lab.name}
        there = self.gradebook.db.execute(text(KNOWN), known).first() is not None
        self.gradebook.db.execute(text(FORGET), known)
        with contextlib.suppress(MissingEntry):
            self.gradebook.remove_submission(self.lab.name, nbgrader_id(student))
            there = True
        self.gradebook.db.commit()
        for kind in ("autograded", "feedback", "submitted"):
            folder = self._folder(kind, student)
            if submissions is None or not folder.resolve().is_relative_to(submissions.resolve()):
                shutil.rmtree(folder, ignore_errors=True)
        return there

    def _folder(self, kind: str, student: str) -> Path:
        return self.output / kind / nbgrader_id(student) / self.lab.name

    def _register_lab(self) -> None:
        """Tells the gradebook of the lab's cells and points, as nbgrader's GenerateAssignment does."""
        notebook = copy.deepcopy(self.lab.instructor_notebook)
        try:
            known = {} if self.dates.due is None else {"duedate": self.dates.due}
            _number_new_database(self.database)
            with self._gradebook() as gradebook:
                gradebook.db.execute(text(TABLE))
                gradebook.db.execute(text(DUE_TABLE))
                if self.dates.due is not None:
                    self._keep_extensions(gradebook)
                if self.dates.zone:
                    gradebook.db.execute(text(TELL_DUE), {"l": self.lab.name, "z": self.dates.zone})
                gradebook.update_or_create_assignment(self.lab.name, **known)
            for step in (LockCells, NamedStub, ClearOutput, ComputeChecksums, SaveCells):
                notebook, _ = step().preprocess(notebook, copy.deepcopy(self._resources))
        except SQLAlchemyError as error:
            raise CourseError(f"{self.database} is not a gradebook: {error.__cause__ or error}") from error
        except RuntimeError as error:  # nbgrader refuses when cells come or go that submissions refer to
            raise CourseError(
                f"{self.database} holds grades for another version of {self.lab.name} ({error}): "
                "grade into another folder with --output FOLDER, or delete this gradebook"
            ) from error

    def _keep_extensions(self, gradebook: Gradebook) -> None:
        """nbgrader keeps by how much a due date of one's own is later: the date stays where it is if that of all moves.
        One that the new date of all has reached is none."""
        with contextlib.suppress(MissingEntry):
            assignment = gradebook.find_assignment(self.lab.name)
            for submission in assignment.submissions if assignment.duedate is not None else ():
                if submission.extension:
                    later = assignment.duedate + submission.extension - self.dates.due
                    submission.extension = later if later > timedelta() else None

    def _gradebook(self) -> Gradebook:
        return Gradebook(self._resources["nbgrader"]["db_url"])

    def _copy_submission(self, graded: Graded, handed_in: datetime | None) -> None:
        """formgrader lists what lies in ``submitted``, and wants it graded if the time there is not the gradebook's."""
        folder, path = self._folder("submitted", graded.submission.student), graded.submission.path
        if path is not None and path.resolve().is_relative_to(folder.resolve()):
            return  # nbgrader's collect has put it there, with the time
        if self.dates.exchange is not None and folder.resolve().is_relative_to(self.dates.exchange.resolve()):
            return  # and there is no notebook in it
        folder.mkdir(parents=True, exist_ok=True)
        content = None
        if graded.submission.answers.digest:
            with contextlib.suppress(Unreadable):
                content = read_content(path)
        # what was not read is no copy of what was graded; its rows say why
        same = content is not None and hashlib.sha256(content).hexdigest() == graded.submission.answers.digest
        _lay(folder / f"{self.lab.name}.ipynb", content if same else None)
        _lay(folder / TIMESTAMP, None if handed_in is None else f"{handed_in} UTC\n".encode("ascii"))

    def _save(self, graded: Graded, notebook: NotebookNode) -> datetime | None:
        """Puts grades and comments into the gradebook, by the rules of nbgrader's SaveAutoGrades but all in one
        transaction; that takes one for each cell, and a tenth of a second for all.

        Written questions get zero where there is nothing to read. A person's grade stays; if the answer is not the one
        that the person saw, it waits for another look.

        Returns:
            When it was handed in, if that is known.
        """
        student = nbgrader_id(graded.submission.student)
        handed_in = self._register_submission(graded, student)
        saved = self.gradebook.find_submission_notebook(self.lab.name, self.lab.name, student)
        cells = {c["id"]: c for c in notebook.cells}
        for comment in saved.comments:
            cell = cells[self.names[comment.cell_id]]
            untouched = cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)
            comment.auto_comment = "No response." if untouched else None
        known = {"s": graded.submission.student, "l": self.lab.name}
        before = self.gradebook.db.execute(text(KNOWN), known).scalar()
        seen = {row["question"]: row["answer"] for row in json.loads(before)["rows"]} if before else {}
        answers = {question.id: self._answer(graded, question) for question in self.lab.questions}
        status = {row.question: row.status for row in graded.rows}
        for grade in saved.grades:
            question = self.names[grade.cell_id]
            grade.auto_score, _ = determine_grade(cells[question])
            if grade.auto_score is None and status[question] in ("missing", "unreadable", "not attempted"):
                grade.auto_score = 0.0
            if grade.manual_score is None:
                grade.needs_manual_grade = grade.auto_score is None
            else:
                grade.needs_manual_grade |= seen.get(question) != answers[question]
        told = known | {"n": student, "told": json.dumps(self._told(graded, answers), ensure_ascii=False)}
        self.gradebook.db.execute(text(TELL), told)
        self.gradebook.db.commit()
        return handed_in

    def _told(self, graded: Graded, answers: dict[str, str]) -> dict[str, Any]:
        """What nbgrader's tables have no place for; see `autograder.records.rows.TABLE`."""
        kept = ("question", "max_score", "status", "message", "public", "seconds")
        rows = [{key: getattr(row, key) for key in kept} | {"answer": answers[row.question]} for row in graded.rows]
        readable = not graded.submission.unreadable
        texts = [*(row.message for row in graded.rows), *graded.output.values()]
        return {
            "rows": rows,
            "notes": graded.submission.answers.notes if readable else [],
            "refused": refusals(texts) if readable else [],
            "walls": list(graded.walls) if readable and graded.walls else None,  # none are known of a lost examiner
            "version": lab_version(self.lab),
        }

    def _answer(self, graded: Graded, question: Cell) -> str:
        """Stands for what a person who grades this question looks at."""
        cell = question if question.kind == "written" else self.lab.exercise_of(question)
        source = graded.submission.answers.sources.get(cell.id)
        return "" if source is None else hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()

    def _register_submission(self, graded: Graded, student: str) -> datetime | None:
        """Tells the gradebook that there is a submission, and its dates as far as they are known; returns its time."""
        name, path = graded.submission.student, graded.submission.path
        handed_in = self.dates.handed_in.get(name)
        if handed_in is None and self._by_exchange(path):
            handed_in, problem = timestamp_beside(path)
            graded.submission.answers.notes += [problem] if problem else []
        if handed_in is None and name in self.dates.called_late:
            handed_in = self._a_second_late(graded, student)
        self.gradebook.update_or_create_student(student)
        known = {} if handed_in is None else {"timestamp": handed_in}
        submission = self.gradebook.update_or_create_submission(self.lab.name, student, **known)
        if name in self.dates.extensions:
            if submission.assignment.duedate is None:
                raise CourseError(f"{name} has an extension, but {self.lab.name} has no due date: say --due TIME")
            submission.extension = self.dates.extensions[name] - submission.assignment.duedate
        return submission.timestamp

    def _by_exchange(self, path: Path | None) -> bool:
        """Whether nbgrader's collect has laid a notebook where it lies, and its own files beside it. In any other
        folder, and further down, a student may have laid them."""
        exchange = self.dates.exchange
        if path is None or exchange is None or path.parent.name != self.lab.name:
            return False
        return path.parent.parent.parent.resolve() == exchange.resolve()

    def _a_second_late(self, graded: Graded, student: str) -> datetime | None:
        """The time of whom a learning system calls late without saying by how much: the least that this can mean, which
        a note says. None if a better one is known, or there is nothing to be late for."""
        notes, told = graded.submission.answers.notes, "the learning system calls it late, and not by how much"
        with contextlib.suppress(MissingEntry):
            known = self.gradebook.find_submission(self.lab.name, student)
            if known.timestamp is not None and known.duedate is not None and known.timestamp > known.duedate:
                return None
        due = self.gradebook.find_assignment(self.lab.name).duedate
        if due is None or graded.submission.student in self.dates.extensions:
            why = "there is no due date" if due is None else "there is an extension"
            notes.append(f"{told}: {why}, so nothing is charged")
            return None
        notes.append(f"{told}: counted as one second (--timestamps says better)")
        return due + timedelta(seconds=1)

    def _charge_lateness(self, graded: Graded, notebook: NotebookNode) -> None:
        """Late penalties, by nbgrader's own step and plugin; one that stands there stays if no dates are known."""
        student = nbgrader_id(graded.submission.student)
        submission = self.gradebook.find_submission(self.lab.name, student)
        if submission.duedate is not None and submission.timestamp is not None:
            self.gradebook.db.commit()
            step = AssignLatePenalties(config=self._config)
            step.log = logging.Logger("nbgrader", logging.ERROR)  # it warns of every late submission
            step.preprocess(notebook, {"nbgrader": self._resources["nbgrader"] | {"student": student}})
        self.gradebook.db.commit()

    @functools.cached_property
    def _config(self) -> Config:
        """What the course's ``nbgrader_config.py`` says, of late penalties for one."""
        name = "nbgrader_config.py"
        if not (self.lab.root / name).is_file():
            return Config()
        return PyFileConfigLoader(name, path=str(self.lab.root)).load_config()


def _number_new_database(path: Path) -> None:
    """Notes in a new gradebook which version of nbgrader's tables it will have. nbgrader would start the program
    ``alembic`` to ask for the number, which takes seconds."""
    if path.is_file() and path.stat().st_size:
        return
    engine = create_engine(f"sqlite:///{path.resolve()}")
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(ALEMBIC_DIR), "heads")
    engine.dispose()


def _lay(path: Path, content: bytes | None) -> None:
    """Puts a file in the place of whatever lies there, or nothing; a link is replaced and not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if content is not None:
        with path.open("xb") as file:
            file.write(content)


def _lay_beside(path: Path | None, folder: Path, handed_in: datetime | None) -> None:
    """Time and secret of a submission, by which nbgrader's exchange hands feedback back. What came by the exchange has
    its own, beside its notebook at ``path``; any other way there is nobody to fetch it, but release_feedback stops
    everybody's where a file lacks."""
    for name in (TIMESTAMP, SECRET):
        source = path and path.parent / name
        if source and source.is_file() and not source.is_symlink():
            with contextlib.suppress(PermissionError), source.open("rb") as file:
                (folder / name).write_bytes(file.read(LONGEST_BESIDE))
        if not (folder / name).is_file():
            known = f"{handed_in} UTC\n" if handed_in else "not known\n"
            (folder / name).write_text(known if name == TIMESTAMP else secrets.token_hex(64), encoding="ascii")


def lab_version(lab: Lab) -> str:
    """Stands for all that a lab's grades depend on in the lab."""
    return hashlib.sha256(json.dumps([asdict(cell) for cell in lab.cells]).encode()).hexdigest()[:16]


def nbgrader_id(student: str) -> str:
    """The student's name as nbgrader's tools get it: formgrader puts it into pages without escaping it, and others take
    it for a pattern of file names. Of one that is too long for a folder: its beginning, and a digest."""
    name = re.sub(r"[<>&\"'`%={}\[\]*?]", lambda match: f"%{ord(match[0]):02X}", student)
    if len(name.encode()) <= LONGEST_FOLDER:
        return name
    begin = name.encode()[: LONGEST_FOLDER - 20].decode(errors="ignore")
    return f"{begin}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


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
