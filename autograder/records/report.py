"""HTML pages on how the class did, and where: one for each lab and one that leads to them; from the gradebook.

A page loads nothing, and its one script, which sorts tables, may be missing. Names and messages come from strangers:
the templates escape them, and each page's own policy lets a browser run nothing but that script.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autograder.errors import CourseError
from autograder.processes.limited import Limited, Stopped
from autograder.records.pages import template
from autograder.records.roster import Roster
from autograder.records.rows import Records
from autograder.sandbox.strangers import visible
from autograder.sandbox.walls import WALLS

KINDS = {
    "passed": "passed",
    "failed": "wrong",
    "error": "wrong",
    "timeout": "odd",
    "crashed": "odd",
    "missing": "odd",
    "unreadable": "odd",
    "not attempted": "blank",
    "by hand": "waiting",
    "graded by hand": "person",
}
"""Status -> how the page shows it: mark, colour and word."""

SECONDS = 120.0
"""Of processor time for each page: a lab's with 2,000 students takes some seconds."""

HEADLINE = 120  # characters of a message's first line that are shown in a table

MIN_STUDENTS = 20
"""For `discrimination`. With fewer, a correlation of 0.44 comes about by chance in one of twenty questions (Student's t
for 18 degrees of freedom), and what the page says of a question would be noise."""

WEAK = 0.2
"""Below, a question's `discrimination` is marked; the documentation of item_discrimination() in R's package
performance asks for at least so much."""

SLOW_SECONDS, SLOW_TIMES = 1.0, 5.0
"""A student is named as slow from so many seconds on, and so many times the class's median; less is the machine's."""


@dataclass(frozen=True)
class Cell:
    """What one student got for one question."""

    kind: str
    status: str
    points: str
    message: str


@dataclass(frozen=True)
class Message:
    """What several students read."""

    text: str  # first line, by which they are told apart
    example: str  # the whole of the first of them
    questions: list[str]
    students: list[str]


@dataclass(frozen=True)
class Question:
    """How the class did on one question."""

    name: str
    points: float
    students: int
    decided: int  # students whose points are settled
    passed: int
    mean: float  # points, of those decided
    outcomes: list[tuple[str, str, int]]  # kind, status, how many
    commonest: Message | None
    discrimination: float | None  # see `discrimination`; None if it would say nothing
    seconds: float | None  # how long its check took, median over those in time
    slow: list[tuple[str, float]]  # students who took much longer, and how long

    @property
    def rate(self) -> float:
        """Part of those decided that have all points."""
        return self.passed / self.decided if self.decided else 0.0

    @property
    def waiting(self) -> bool:
        """Whether a person has yet to grade some answers; what is decided until then says little."""
        return self.decided < self.students


@dataclass(frozen=True)
class Oddity:
    """A submission, or a part of one, that ended otherwise than right or wrong."""

    student: str
    status: str
    questions: list[str]
    message: str


@dataclass(frozen=True)
class Points:
    """What one student has in one lab."""

    earned: float
    late: float  # what lateness costs
    late_by: str = ""  # in words

    @property
    def net(self) -> float:
        """What counts: in the gradebook and in exports."""
        return self.earned - self.late


@dataclass(frozen=True)
class LabReport:
    """All that the page says of one lab."""

    name: str
    largest: float  # points of all questions
    questions: list[Question]  # hardest first
    order: list[str]  # question names in the lab's order
    messages: list[Message]  # commonest first
    oddities: list[Oddity]
    bins: list[tuple[str, int]]  # points in per cent, how many students
    table: dict[str, dict[str, Cell]]  # student -> question -> cell
    points: dict[str, Points]  # student -> points
    walls: list[str] | None  # of the sandbox, that stood for every answer; None if nobody wrote it down
    notes: dict[str, list[str]]  # student -> what was odd about the notebook, without effect on the score
    refused: dict[str, list[str]]  # student -> what the walls, and what the lab withholds, refused to the answers
    absent: list[str]  # who is in the roster, and handed in nothing

    @property
    def missing_walls(self) -> list[str]:
        return [wall for wall in WALLS if wall not in (self.walls or [])]

    @property
    def median(self) -> float:
        """Points less what lateness costs, of the student in the middle."""
        return statistics.median(points.net for points in self.points.values())

    @property
    def is_late(self) -> bool:
        """Whether anybody was late, or lost points by it."""
        return any(points.late or points.late_by for points in self.points.values())

    @property
    def waiting(self) -> int:
        """Answers that wait for a person."""
        return sum(q.students - q.decided for q in self.questions)

    @property
    def discriminates(self) -> bool:
        """Whether there are students enough for `discrimination`."""
        return any(q.discrimination is not None for q in self.questions)

    @property
    def slow(self) -> list[Question]:
        return [q for q in self.questions if q.slow]

    @property
    def odd_students(self) -> set[str]:
        """Of whom anything stands among the anomalies."""
        return {o.student for o in self.oddities} | self.notes.keys() | self.refused.keys()

    @property
    def hardest(self) -> Question | None:
        return next((q for q in self.questions if q.rate < 1 and not q.waiting), None)


def write_report(
    records: Records, to: Path, roster: Roster | None = None, tell: Callable[[str], None] = lambda line: None
) -> Path:
    """Writes ``to/<lab>.html`` for every lab, and ``to/index.html``, of what the gradebook says. The same rows
    always give the same bytes. Who is in the roster and handed in nothing is named, and in no statistics.

    Messages are strangers', so pages are made in a child with limits. Where it does not come to an end, the lab's page
    has no messages, and says why.

    Args:
        tell: is told of such pages.

    Returns:
        The path of ``index.html``.

    Raises:
        CourseError: if there is no end without messages, either.
    """
    reports: dict[tuple[str, str], LabReport] = {}  # the child's
    about = {"headline": _headline, "min_students": MIN_STUDENTS, "weak": WEAK}

    def report(name: str, without: str) -> LabReport:
        if (name, without) not in reports:
            own = records.rows[records.rows["lab"] == name]
            read = (lambda text: text and f"(left out: {without})") if without else _readable
            absent = roster.absent(set(own["student"])) if roster else []
            own = own.assign(message=own["message"].map(read))
            reports[name, without] = lab_report(name, own, records.run(name), absent)
        return reports[name, without]

    def page(name: str, without: str) -> str:
        return template("report_lab").render(lab=report(name, without), **about)

    def index(without: dict[str, str]) -> str:
        return template("report_index").render(labs=[report(*pair) for pair in without.items()], **about)

    to = Path(to)
    to.mkdir(parents=True, exist_ok=True)
    without = dict.fromkeys(records.labs, "")  # lab -> why its page has no messages
    with Limited({"page": page, "index": index}, SECONDS) as limited:
        try:
            for name in without:
                try:
                    content = limited.call("page", name, "")
                except Stopped as error:
                    without[name] = str(error)
                    content = limited.call("page", name, without[name])
                    tell(f"{name}: its page has no messages: {error}")
                _write(to / f"{name}.html", content)
            return _write(to / "index.html", limited.call("index", without))
        except Stopped as error:
            raise CourseError(f"the report on {', '.join(without)} cannot be made: {error}") from error


def _readable(message: str) -> str:
    return visible(message).strip("\n")


def _write(path: Path, page: str) -> Path:
    partial = path.with_suffix(".html.part")
    partial.write_text(page, encoding="utf-8")
    return partial.replace(path)


def lab_report(name: str, rows: pd.DataFrame, run: dict, absent: Iterable[str] = ()) -> LabReport:
    """
    Args:
        rows: of the lab, with the columns of `rows.COLUMNS`.
        run: see `Records.run`.
        absent: see `LabReport`.
    """
    order = list(dict.fromkeys(rows["question"]))
    tells = discrimination(rows)
    questions = [_question(q, rows[rows["question"] == q], tells[q], run.get("took", {}).get(q, {})) for q in order]
    late, by = run.get("late", {}), run.get("late_by", {})
    points = {
        s: Points(float(own["score"].sum()), float(late.get(s, 0)), by.get(s, "")) for s, own in _by_student(rows)
    }
    return LabReport(
        name=name,
        largest=sum(q.points for q in questions),
        questions=sorted(questions, key=lambda q: (q.waiting, q.rate)),
        order=order,
        messages=_messages(rows),
        oddities=_oddities(rows),
        bins=_bins(rows, late),
        table={s: {r.question: _cell(r) for r in own.itertuples()} for s, own in _by_student(rows)},
        points=points,
        walls=run.get("walls"),
        notes=_cleaned(run.get("notes", {})),
        refused=_cleaned(run.get("refused", {})),
        absent=[visible(student) for student in absent],
    )


def discrimination(rows: pd.DataFrame) -> dict[str, float | None]:
    """How well each question tells the strong from the weak: the corrected item-total correlation, that is Pearson's
    correlation of its points with the points in all other questions of the lab (Nunnally and Bernstein, Psychometric
    Theory, 3rd edition, 1994). Checks of one exercise stand and fall together, which raises it.

    Left out are students without a readable notebook, who would make every question look good, and questions that wait
    for a person's grade.

    Returns:
        -1 to 1 for every question; None if fewer than `MIN_STUDENTS` remain, or if all have the same points.
    """
    read = rows[rows["status"] != "unreadable"]
    waiting = set(read.loc[read["status"] == "by hand", "question"])
    points = read.pivot_table(index="student", columns="question", values="score").drop(columns=waiting).dropna()
    found: dict[str, float | None] = dict.fromkeys(rows["question"])
    if len(points) < MIN_STUDENTS:
        return found
    for question in points.columns:
        own, rest = points[question], points.drop(columns=question).sum(axis=1)
        if own.nunique() > 1 and rest.nunique() > 1:
            found[question] = float(own.corr(rest))
    return found


def _cleaned(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    return {student: [visible(text) for text in own] for student, own in texts.items()}


def _by_student(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(student), own) for student, own in rows.groupby("student", sort=True)]


def _question(name: str, rows: pd.DataFrame, tells: float | None, took: dict[str, float]) -> Question:
    decided = rows[rows["status"] != "by hand"]
    counts = rows["status"].value_counts()
    outcomes = [(kind, status, int(counts[status])) for status, kind in KINDS.items() if status in counts]
    out_of_time = set(rows.loc[rows["status"] == "timeout", "student"])  # stand among the oddities already
    took = {student: seconds for student, seconds in took.items() if student not in out_of_time}
    median = statistics.median(took.values()) if took else None
    slow = [(s, t) for s, t in took.items() if median is not None and t >= max(SLOW_SECONDS, SLOW_TIMES * median)]
    return Question(
        name=name,
        points=float(rows["max_score"].iloc[0]),
        students=len(rows),
        decided=len(decided),
        passed=int((decided["score"] >= decided["max_score"]).sum()),
        mean=float(decided["score"].mean()) if len(decided) else 0.0,
        outcomes=outcomes,
        commonest=next(iter(_messages(rows)), None),
        discrimination=tells,
        seconds=median,
        slow=sorted(slow, key=lambda pair: -pair[1]),
    )


def _messages(rows: pd.DataFrame) -> list[Message]:
    """What students read whose answer ran and was not right."""
    wrong = rows[rows["status"].isin(["failed", "error", "timeout", "crashed"])]
    found = [
        Message(
            text, same["message"].iloc[0], list(dict.fromkeys(same["question"])), list(dict.fromkeys(same["student"]))
        )
        for text, same in wrong.groupby(wrong["message"].map(_first_line), sort=True)
    ]
    return sorted(found, key=lambda m: -len(m.students))


def _oddities(rows: pd.DataFrame) -> list[Oddity]:
    odd = rows[rows["status"].map(KINDS) == "odd"]
    keys: list[Hashable] = ["student", "status", "message"]
    return [
        Oddity(student, status, list(same["question"]), message)
        for (student, status, message), same in odd.groupby(keys, sort=True)
    ]


def _bins(rows: pd.DataFrame, late: dict[str, float]) -> list[tuple[str, int]]:
    """Students by the part they have of the points decided so far, less what lateness costs."""
    decided = rows[rows["status"] != "by hand"].groupby("student")[["score", "max_score"]].sum()
    net = decided["score"] - decided.index.map(lambda student: late.get(student, 0))
    percent = (100 * net / decided["max_score"]).fillna(0)
    tenth = (percent // 10).clip(0, 10).astype(int)
    names = [*(f"{10 * n} to {10 * n + 9} %" for n in range(10)), "100 %"]
    return [(name, int((tenth == n).sum())) for n, name in enumerate(names)]


def _cell(row: object) -> Cell:
    values = row._asdict()  # type: ignore[attr-defined]  a named tuple of pandas
    points = "?" if values["status"] == "by hand" else f"{values['score']:g}"
    return Cell(KINDS.get(values["status"], "odd"), values["status"], points, values["message"])


def _first_line(message: str) -> str:
    return message.partition("\n")[0].strip() or "(no message)"


def _headline(text: str) -> str:
    return text if len(text) <= HEADLINE else text[: HEADLINE - 1] + "…"
