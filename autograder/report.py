"""One HTML page on how the class did, and where; made from the rows that `gradebook` wrote.

The page needs no script and loads nothing. Names and messages come from strangers: the template escapes them, and
the page's own policy lets a browser run nothing.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from autograder.gradebook import read_csvs
from autograder.sandbox import WALLS

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

CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")
HEADLINE = 120  # characters of a message's first line that are shown in a table


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
class LabReport:
    """All that the page says of one lab."""

    name: str
    questions: list[Question]  # hardest first
    order: list[str]  # question names in the lab's order
    messages: list[Message]  # commonest first
    oddities: list[Oddity]
    bins: list[tuple[str, int]]  # points in per cent, how many students
    table: dict[str, dict[str, Cell]]  # student -> question -> cell
    totals: dict[str, str]
    walls: list[str] | None  # of the sandbox, that stood for every answer; None if nobody wrote it down
    notes: dict[str, list[str]]  # student -> what was odd about the notebook, without effect on the score
    seconds: dict[str, float]  # question -> how long its check took, median over the class

    @property
    def missing_walls(self) -> list[str]:
        return [wall for wall in WALLS if wall not in (self.walls or [])]

    @property
    def hardest(self) -> Question | None:
        return next((q for q in self.questions if q.rate < 1 and not q.waiting), None)


def write_report(output: Path, to: Path) -> Path:
    """Writes ``to/index.html`` from what `course grade` left in ``output``. The same rows always give the same bytes.

    Returns:
        The page's path.

    Raises:
        CourseError: if nothing was graded into that folder.
    """
    rows = read_csvs(output)
    rows["message"] = rows["message"].astype(str).map(clean)
    labs = [_lab_report(str(name), of_lab, _run(output, str(name))) for name, of_lab in rows.groupby("lab", sort=True)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(labs=labs, headline=_headline)
    to = Path(to)
    to.mkdir(parents=True, exist_ok=True)
    path = to / "index.html"
    partial = path.with_suffix(".html.part")
    partial.write_text(page, encoding="utf-8")
    return partial.replace(path)


def _run(output: Path, lab: str) -> dict:
    """What the grader wrote beside the rows, in ``<lab>.run.json``: walls, notes, seconds. Empty if there is none."""
    path = Path(output) / f"{lab}.run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _lab_report(name: str, rows: pd.DataFrame, run: dict) -> LabReport:
    order = list(dict.fromkeys(rows["question"]))
    questions = [_question(q, rows[rows["question"] == q]) for q in order]
    return LabReport(
        name=name,
        questions=sorted(questions, key=lambda q: (q.waiting, q.rate)),
        order=order,
        messages=_messages(rows),
        oddities=_oddities(rows),
        bins=_bins(rows),
        table={s: {r.question: _cell(r) for r in own.itertuples()} for s, own in _by_student(rows)},
        walls=run.get("walls"),
        notes={student: [clean(note) for note in notes] for student, notes in run.get("notes", {}).items()},
        seconds={question: statistics.median(taken) for question, taken in run.get("seconds", {}).items()},
        totals={s: f"{own['score'].sum():g}" for s, own in _by_student(rows)},
    )


def _by_student(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(student), own) for student, own in rows.groupby("student", sort=True)]


def _question(name: str, rows: pd.DataFrame) -> Question:
    decided = rows[rows["status"] != "by hand"]
    counts = rows["status"].value_counts()
    outcomes = [(kind, status, int(counts[status])) for status, kind in KINDS.items() if status in counts]
    return Question(
        name=name,
        points=float(rows["max_score"].iloc[0]),
        students=len(rows),
        decided=len(decided),
        passed=int((decided["score"] >= decided["max_score"]).sum()),
        mean=float(decided["score"].mean()) if len(decided) else 0.0,
        outcomes=outcomes,
        commonest=next(iter(_messages(rows)), None),
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


def _bins(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Students by the part they have of the points decided so far."""
    decided = rows[rows["status"] != "by hand"].groupby("student")[["score", "max_score"]].sum()
    percent = (100 * decided["score"] / decided["max_score"]).fillna(0)
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


def clean(message: str) -> str:
    """Without terminal colours and control characters, which HTML does not allow."""
    return CONTROL.sub("", message.replace("\r\n", "\n")).strip("\n")
