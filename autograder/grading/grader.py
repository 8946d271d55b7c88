"""Grades submissions: makes a job of each, has it examined, and tells what came of every question."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace

from autograder.errors import CourseError
from autograder.grading.cache import ResultCache, check_key, common_key
from autograder.grading.reading import Submission
from autograder.grading.seeds import KNOWN, seed
from autograder.grading.submission import Answers
from autograder.labs.build import release
from autograder.labs.cell import Cell
from autograder.labs.lab import Lab
from autograder.processes.job import Job, Report, Result
from autograder.processes.servers import Servers
from autograder.sandbox.strangers import shortened

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

    submission: Submission
    rows: list[Row]
    output: dict[str, str] = field(default_factory=dict)  # what the answers printed, cell by cell
    walls: list[str] = field(default_factory=list)  # of the sandbox
    drew: frozenset[str] = frozenset()  # checks that drew inputs before they had their result

    @property
    def score(self) -> float:
        return sum(r.score for r in self.rows)


class Grader(Servers):
    """Grades one submission after the other. Use as a context manager.

    Args:
        cache: what `grade` knows already.
        secret: see `seeds`; without one the inputs that checks draw are no secret.

    Attributes:
        draw: which inputs the checks draw: with another number, every submission gets other ones.
    """

    def __init__(self, cache: ResultCache | None = None, secret: bytes = KNOWN):
        super().__init__()
        self.cache, self.secret = cache, secret
        self.draw = 0

    def grade(
        self,
        submission: Submission,
        *,
        afresh: bool = False,
        only: Collection[str] | None = None,
        as_shown: bool = False,
    ) -> Graded:
        """Grades one submission, with what the cache knows unless ``afresh``; ``only`` some questions, if given;
        ``as_shown`` by what stands in the released notebook alone, as a student sees it.

        Raises:
            CourseError: if the lab itself is at fault, so that nobody's answers can be judged.
        """
        cache = None if afresh else self.cache
        task = Task(submission, cache, only, as_shown=as_shown, draw=self.draw, secret=self.secret)
        return task.finish(self.examine(task.job) if task.job else None)


class Task:
    """A submission on its way: what is left to examine, and what is known already.

    Args:
        cache: results found there are not computed again; new ones are put there by `finish`.
        only: the ids of the questions to grade; by default all.
        as_shown: see `Grader.grade`.
        draw, secret: see `Grader`.

    Attributes:
        job: for `Servers.examine`; None if nothing is left to examine.
    """

    def __init__(
        self,
        submission: Submission,
        cache: ResultCache | None = None,
        only: Collection[str] | None = None,
        *,
        as_shown: bool = False,
        draw: int = 0,
        secret: bytes = KNOWN,
    ):
        self.submission, self.cache = submission, cache
        self.questions = [q for q in submission.lab.questions if only is None or q.id in only]
        self.results: dict[str, dict] = {}
        self.run: dict = {"output": {}, "walls": []}  # what is known of the answers' run as a whole
        self.job: Job | None = None
        if not submission.unreadable:
            job = make_job(submission.lab, submission.answers, as_shown=as_shown, draw=draw, secret=secret)
            checks = [q for q in self.questions if q.kind == "check"]
            if cache is not None:
                common = common_key(job)
                self.run_key = common
                self.keys = {c.id: check_key(common, c) for c in checks}
                self.results = {i: found for i, key in self.keys.items() if (found := cache.get(key))}
                self.run = cache.get(self.run_key) or self.run
            if len(self.results) < len(checks):
                left_out = {q.id for q in submission.lab.questions} - {c.id for c in checks} | self.results.keys()
                left = [c for c in job.cells if c["id"] not in left_out]
                self.job = replace(job, cells=left)

    def finish(self, report: Report | None) -> Graded:
        """Puts the examiner's report and what was known together.

        Raises:
            CourseError: if the report says that the lab itself is at fault.
        """
        if report is not None and report.lost:  # perhaps by an accident of the machine's: not kept in the cache
            left = [c["id"] for c in self.job.cells if c["kind"] == "check"]
            self.results |= {i: asdict(Result(i, False, "crashed", report.lost, report.lost)) for i in left}
        elif report is not None:
            if report.error:
                raise CourseError(f"{self.submission.lab.source}: {report.error}")
            new = {r["question"]: r for r in report.results}
            self.results |= new
            self.run = {"output": self.run["output"] | report.output, "walls": report.walls}
            if self.cache is not None:
                sure = {self.keys[i]: r for i, r in new.items() if i not in report.doubtful}
                self.cache.put(sure | {self.run_key: self.run})
        rows = [self._row(question) for question in self.questions]
        rows, drew = self._explain_added_names(rows), frozenset(i for i, r in self.results.items() if r["drew"])
        return Graded(self.submission, rows, self.run["output"], self.run["walls"], drew)

    def _row(self, question: Cell) -> Row:
        submission, lab = self.submission, self.submission.lab
        score, seconds, public = 0.0, 0.0, None
        if submission.unreadable:
            status, message = "unreadable", submission.unreadable
        elif question.kind == "written":
            status, message = self._written(question)
        elif (exercise := lab.exercise_of(question).id) in submission.answers.refused:
            status, message = "unreadable", submission.answers.refused[exercise]
        elif exercise not in submission.answers.sources:
            status, message = "missing", f"{exercise}: the exercise cell was deleted"
        else:
            result = self.results[question.id]
            status, message, public, seconds = (result[k] for k in ("status", "message", "public", "seconds"))
            score = question.points if result["passed"] else 0.0
        message, public = (shortened(t) for t in (message, message if public is None else public))
        return Row(submission.student, lab.name, question.id, score, question.points, status, message, public, seconds)

    def _written(self, question: Cell) -> tuple[str, str]:
        """Written questions wait for a person, unless there is nothing to read."""
        stub = next(c.source for c in release(self.submission.lab).cells if c["id"] == question.id)
        answer = self.submission.answers.sources.get(question.id)
        if question.id in self.submission.answers.refused:
            return "unreadable", self.submission.answers.refused[question.id]
        if answer is None:
            return "missing", f"{question.id}: the cell is not there, or has lost its id"
        if answer.strip() == stub.strip():
            return "not attempted", f"{question.id} was not answered"
        return "by hand", f"{question.id} waits for a person's grade"

    def _explain_added_names(self, rows: list[Row]) -> list[Row]:
        """A NameError over something that the student defined in a cell of their own deserves a word on the reason."""
        added = self.submission.answers.added
        explained = []
        for row in rows:
            match = MISSING_NAME.search(row.message)
            if match and match[1] in added:
                hint = f"; {match[1]} is defined in a cell you added, and only exercise cells are graded: move it there"
                row = replace(row, message=row.message + hint, public=row.public + hint)
            explained.append(row)
        return explained


def make_job(lab: Lab, answers: Answers, *, as_shown: bool = False, draw: int = 0, secret: bytes = KNOWN) -> Job:
    """What an examiner needs to know, without the reference answers."""
    released = {c["id"]: c.source for c in release(lab).cells}
    source = {c.id: "" if c.kind in ("exercise", "written") else c.source for c in lab.cells}
    if as_shown:
        source |= {c.id: released[c.id] for c in lab.cells if c.kind == "check"}
    exercises = [c.id for c in lab.exercises]
    checks = {c.id: lab.exercise_of(c) for c in lab.cells if c.kind == "check"}
    given = {i: s for i, s in answers.sources.items() if i in exercises}
    defined = [name for c in lab.exercises for name in c.names]
    return Job(
        cells=[asdict(c) | {"source": source[c.id]} for c in lab.cells],
        names={c.id: list(c.names) for c in lab.exercises},
        answers=given,
        stubs={i: released[i] for i in exercises},
        exercise_of={i: exercise.id for i, exercise in checks.items()},
        uses={i: [name for name in defined if name in _named(source[i])] for i in checks},
        withheld=lab.withheld,
        seconds=lab.check_seconds,
        # Other inputs for every answer, the same ones whenever it is graded again; in a notebook always the same.
        seeds={i: 0 if as_shown else seed(secret, lab.name, i, given.get(i, ""), str(draw)) for i in exercises},
        as_shown=as_shown,
    )


@functools.lru_cache(maxsize=1000)  # a lab's checks are the same for everybody
def _named(source: str) -> frozenset[str]:
    """The names that stand in a piece of Python."""
    return frozenset(node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
