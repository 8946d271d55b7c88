"""Grades submissions: makes jobs, hands them to an examiner, and tells what came of every question."""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autograder import forkserver
from autograder.build import release
from autograder.errors import CourseError
from autograder.examiner import GRACE_SECONDS, START_SECONDS, Job, Report, read_walls
from autograder.forkserver import ForkServer
from autograder.lab import Cell, Lab
from autograder.submission import Answers, Unreadable, added_names, notebook_path, read_answers
from autograder.wire import Closed, Decoder, Encoder, Wire, WireError

MISSING_NAME = re.compile(r"NameError: name '(\w+)' is not defined")


@dataclass(frozen=True)
class Row:
    """What became of one question of one submission."""

    student: str
    lab: str
    question: str
    score: float
    max_score: float
    status: str  # passed, failed, error, timeout, crashed, not attempted, missing, unreadable, by hand, graded by hand
    message: str = ""
    public: str = ""  # the message as the student may read it
    seconds: float = 0.0


@dataclass
class Graded:
    """A submission with its rows, in the order of the lab's questions."""

    student: str
    lab: Lab
    answers: Answers
    rows: list[Row]
    output: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    @property
    def score(self) -> float:
        return sum(r.score for r in self.rows)


class Grader:
    """Two fork servers, and the way of a submission through them. Use as a context manager."""

    def __enter__(self) -> Grader:
        self.candidates = ForkServer("autograder.candidate")
        self.examiners = ForkServer("autograder.examiner")
        return self

    def __exit__(self, *_: object) -> None:
        self.examiners.close()
        self.candidates.close()

    def walls(self) -> list[str]:
        """Which walls of the sandbox stand here, asked of a candidate that is started for it."""
        ours, theirs = socket.socketpair()
        pid = forkserver.fork(self.candidates.control, theirs)
        theirs.close()
        ours.settimeout(START_SECONDS)
        try:
            return read_walls(Wire(ours))
        except WireError as error:
            raise CourseError(f"a candidate process does not start: {error}") from error
        finally:
            forkserver.kill(self.candidates.control, pid)
            ours.close()

    def grade_folder(self, lab: Lab, student: str, folder: Path) -> Graded:
        """Grades a student's folder. Whatever is in it, the result has a row for every question."""
        try:
            path = notebook_path(folder, lab)
            answers = read_answers(path, lab)
        except Unreadable as error:
            rows = [
                Row(student, lab.name, q.id, 0.0, q.points, "unreadable", str(error), str(error)) for q in lab.questions
            ]
            return Graded(student, lab, Answers(notes=[str(error)]), rows)
        graded = self.grade(lab, answers, student)
        graded.path = path
        graded.rows = _explain_added_names(graded.rows, path, lab)
        return graded

    def grade(self, lab: Lab, answers: Answers, student: str = "") -> Graded:
        """Grades answers."""
        report = self._examine(_job(lab, answers))
        if report.error:
            raise CourseError(f"{lab.source}: {report.error}")
        results = {r["question"]: r for r in report.results}
        rows = []
        for question in lab.questions:
            if question.kind == "written":
                rows.append(_written_row(lab, question, answers, student))
                continue
            result = results[question.id]
            score = question.points if result["passed"] else 0.0
            status, message, public = result["status"], result["message"], result["public"]
            if lab.exercise_of(question).id not in answers.sources:
                status = "missing"
                message = public = f"{lab.exercise_of(question).id}: the exercise cell was deleted"
            rows.append(
                Row(student, lab.name, question.id, score, question.points, status, message, public, result["seconds"])
            )
        return Graded(student, lab, answers, rows, report.output)

    def _examine(self, job: Job) -> Report:
        """Runs a job in a fresh examiner. Should that die or hang itself, nothing of the next job is touched."""
        ours, theirs = socket.socketpair()
        pid = forkserver.fork(self.examiners.control, theirs, self.candidates.control)
        theirs.close()
        cells = len(job.cells)
        ours.settimeout((job.seconds + 2 * GRACE_SECONDS) * 2 * cells)
        wire = Wire(ours)
        try:
            wire.send(Encoder().pack(asdict(job)))
            return Report(**Decoder().unpack(wire.receive()))
        except (Closed, WireError) as error:
            raise CourseError(f"the examiner process ended without a result: {error}") from error
        finally:
            forkserver.kill(self.examiners.control, pid)
            ours.close()


def submissions(folder: Path) -> list[tuple[str, Path]]:
    """The students' folders in a submissions folder, sorted by name.

    Raises:
        CourseError: if there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise CourseError(f"the submissions folder {folder} does not exist")
    found = sorted((p.name, p) for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise CourseError(f"the submissions folder {folder} holds no student's folder (expected <student>/<lab>.ipynb)")
    return found


def grade_all(lab: Lab, folder: Path, *, on_start: Callable[[str], None] = lambda student: None) -> Iterator[Graded]:
    """Grades every student's folder, one after the other, and yields each as it is done."""
    with Grader() as grader:
        for student, path in submissions(folder):
            on_start(student)
            yield grader.grade_folder(lab, student, path)


def _job(lab: Lab, answers: Answers) -> Job:
    cells = [asdict(c) | {"source": "" if c.kind in ("exercise", "written") else c.source} for c in lab.cells]
    stubs = {c["id"]: c.source for c in release(lab).cells}
    exercises = [c.id for c in lab.exercises]
    given = {i: s for i, s in answers.sources.items() if i in exercises}
    return Job(
        cells=cells,
        names={c.id: list(c.names) for c in lab.exercises},
        answers=given,
        stubs={i: stubs[i] for i in exercises},
        exercise_of={c.id: lab.exercise_of(c).id for c in lab.cells if c.kind == "check"},
        withheld=lab.withheld,
        seconds=lab.check_seconds,
        # Other inputs for every submission, the same ones whenever it is graded again.
        seed=zlib.crc32("\0".join([lab.name, *(f"{i}\0{s}" for i, s in sorted(given.items()))]).encode()),
    )


def _written_row(lab: Lab, question: Cell, answers: Answers, student: str) -> Row:
    """Written questions wait for a person, unless there is nothing to read."""
    stub = next(c.source for c in release(lab).cells if c["id"] == question.id)
    answer = answers.sources.get(question.id)
    if answer is None:
        status, message = "missing", f"{question.id}: the cell was deleted"
    elif answer.strip() == stub.strip():
        status, message = "not attempted", f"{question.id} was not answered"
    else:
        status, message = "by hand", f"{question.id} waits for a person's grade"
    return Row(student, lab.name, question.id, 0.0, question.points, status, message, message)


def _explain_added_names(rows: list[Row], path: Path, lab: Lab) -> list[Row]:
    """A NameError over something that the student defined in a cell of their own deserves a word about the reason."""
    if not any(MISSING_NAME.search(r.message) for r in rows):
        return rows
    added = added_names(path, lab)
    explained = []
    for row in rows:
        match = MISSING_NAME.search(row.message)
        if match and match[1] in added:
            hint = f"; {match[1]} is defined in a cell you added, and only exercise cells are graded: move it there"
            row = Row(**asdict(row) | {"message": row.message + hint, "public": row.public + hint})
        explained.append(row)
    return explained
