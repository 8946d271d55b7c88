"""What a student gets back: a page that begins with the points, exercise by exercise, and ends with the notebook.

A page needs no script and loads nothing; formulas are MathML. Hidden checks are not in it: messages are those that the
student may read, and the notebook is the release with the student's answers.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import nbformat
from markupsafe import Markup
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from autograder.errors import CourseError
from autograder.labs.lab import Lab
from autograder.processes.limited import Limited, Stopped
from autograder.records.gradebook import SECRET, nbgrader_id
from autograder.records.markdown import as_written, rendered
from autograder.records.pages import template
from autograder.records.report import KINDS
from autograder.records.roster import Roster
from autograder.records.rows import Records, Submitted
from autograder.sandbox.strangers import visible

FOLDER = "feedback"
DIGEST = re.compile(r'<meta name="grades" content="(\w+)">')
FORMATTER = HtmlFormatter(nowrap=True)


@dataclass(frozen=True)
class Part:
    """An exercise with its checks, or a written question."""

    id: str
    title: str
    score: float
    largest: float
    waiting: bool  # for a person: there are no points yet
    checks: list[dict]  # rows that tell something
    comment: str

    @property
    def kind(self) -> str:
        """How the page shows it: by the worst of its rows."""
        kinds = [KINDS.get(row["status"], "odd") for row in self.checks]
        order = ("odd", "wrong", "waiting", "blank", "person", "passed")
        return next((kind for kind in order if kind in kinds), "passed")


@dataclass(frozen=True)
class Cell:
    """A cell of the notebook as the page shows it."""

    id: str
    title: str
    page: Markup
    outputs: list[str]
    is_answer: bool


@dataclass
class Written:
    """The pages of a class.

    Attributes:
        pages: student -> page.
        plain: whose notebook is shown as it was written, without colours and formulas, and why.
    """

    pages: dict[str, Path] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)


def write_feedback(lab: Lab, records: Records, output: Path, roster: Roster | None = None) -> Written:
    """Writes a page for everybody who has grades in a lab, where nbgrader's ``release_feedback`` looks for them.

    Args:
        roster: for the names of people, if there is one.

    Raises:
        CourseError: if a notebook that belongs to the grades is not there.
    """
    written = Written()

    def page(student: str, plain: str) -> str:
        people = roster.students.get(student, ()) if roster else ()
        name = ", ".join(person.name for person in people if person.name)
        notebook = _notebook(output, student, lab)
        return feedback_page(lab, student, records, nbformat.read(notebook, 4), name, plain=plain)

    with Limited({"page": page}) as limited:
        for student in dict.fromkeys(records.of(lab.name)["student"]):
            notebook, path = _notebook(output, student, lab), page_path(output, student, lab.name)
            if not notebook.is_file():
                raise CourseError(f"{notebook} is not there: run `course grade {lab.name}` once more")
            try:
                content = limited.call("page", student, "")
            except Stopped as error:
                written.plain[student] = str(error)
                content = page(student, str(error))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            for name in ("timestamp.txt", SECRET):
                if (notebook.parent / name).is_file():
                    shutil.copyfile(notebook.parent / name, path.parent / name)
            written.pages[student] = path
    return written


def _notebook(output: Path, student: str, lab: Lab) -> Path:
    return Path(output) / "autograded" / nbgrader_id(student) / lab.name / f"{lab.name}.ipynb"


def page_path(output: Path, student: str, lab: str) -> Path:
    return Path(output) / FOLDER / nbgrader_id(student) / lab / f"{lab}.html"


def fingerprint(records: Records, student: str, lab: str) -> str:
    """Stands for all that a student's page tells of grades: a page with another one is out of date."""
    own = records.of(lab)
    own = own[own["student"] == student].drop(columns=["seconds"])
    about = records.submissions.get((student, lab), Submitted())
    told = [own.to_dict("records"), about.penalty, about.late.total_seconds(), about.comments, about.version]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def has_current_page(records: Records, student: str, lab: str, output: Path) -> bool | None:
    """None if there is no page, else whether it says what the gradebook says."""
    path = page_path(output, student, lab)
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        found = DIGEST.search(file.read(2000))
    return bool(found) and found[1] == fingerprint(records, student, lab)


def feedback_page(
    lab: Lab, student: str, records: Records, notebook: NotebookNode, name: str = "", *, plain: str = ""
) -> str:
    """
    Args:
        student: as the gradebook calls them.
        notebook: the autograded one.
        name: of the person, for the title; by default ``student``.
        plain: why answers are shown as they were written, if they are.
    """
    rows = records.of(lab.name)
    rows = rows[rows["student"] == student].to_dict("records")
    about = records.submissions.get((student, lab.name), Submitted())
    parts = _parts(lab, rows, about)
    return template("feedback").render(
        title=lab.settings.get("title", lab.name),
        lab=lab.name,
        name=name or student,
        digest=fingerprint(records, student, lab.name),
        parts=parts,
        score=sum(part.score for part in parts) - about.penalty,
        largest=sum(part.largest for part in parts),
        waiting=sum(part.largest for part in parts if part.waiting),
        penalty=about.penalty,
        late=_told(about.late),
        cells=_cells(lab, notebook, parts, plain),
        style=Markup(FORMATTER.get_style_defs("pre")),
    )


def _parts(lab: Lab, rows: list[dict], about: Submitted) -> list[Part]:
    questions: dict[str, list[dict]] = {}
    for question, row in zip(lab.questions, _in_order(lab, rows), strict=True):
        answer = question if question.kind == "written" else lab.exercise_of(question)
        questions.setdefault(answer.id, []).append(row | {"public": visible(row["public"])})
    parts = []
    for cell in lab.answers:
        own = questions.get(cell.id, [])
        if own:
            waiting = any(row["status"] == "by hand" for row in own)
            score, largest = (sum(row[key] for row in own) for key in ("score", "max_score"))
            comment = about.comments.get(cell.id, "")
            parts.append(Part(cell.id, lab.titles[cell.id], score, largest, waiting, own, comment))
    return parts


def _in_order(lab: Lab, rows: list[dict]) -> list[dict]:
    """
    Raises:
        CourseError: if the rows are those of another version of the lab.
    """
    known = {row["question"]: row for row in rows}
    if known.keys() != {question.id for question in lab.questions}:
        raise CourseError(f"{lab.name} has other questions than its grades: run `course grade {lab.name}` once more")
    return [known[question.id] for question in lab.questions]


def _cells(lab: Lab, notebook: NotebookNode, parts: list[Part], plain: str) -> list[Cell]:
    verdicts = {row["question"]: row for part in parts for row in part.checks}
    titles = {part.id: part.title for part in parts}
    cells = []
    for cell in notebook.cells:
        identity = cell["id"]
        page = Markup(as_written(cell.source, plain)) if plain and identity in titles else _page(cell)
        outputs = [visible(o.text) for o in cell.get("outputs", []) if o.output_type == "stream"]
        if row := verdicts.get(identity):
            outputs = [_verdict(row)]
        cells.append(Cell(identity, titles.get(identity, ""), page, outputs, identity in titles))
    return cells


def _verdict(row: dict) -> str:
    if row["status"] == "by hand":
        return "not graded yet"
    told = f"{row['status']}: {row['score']:g} of {row['max_score']:g} points"
    return told if row["status"] in ("passed", "graded by hand") else f"{told}\n{row['public']}"


def render_release(notebook: NotebookNode) -> None:
    """Renders an autograded notebook but for its answers: the course's own texts, the same for everybody. A child that
    is forked after this finds them done."""
    for cell in notebook.cells:
        if not cell.metadata.get("nbgrader", {}).get("solution"):
            _page(cell)


def _page(cell: NotebookNode) -> Markup:
    return _code(cell.source) if cell.cell_type == "code" else _text(cell.source)


@functools.lru_cache(maxsize=1000)  # most cells are the release's, the same for everybody
def _text(source: str) -> Markup:
    return Markup(rendered(source))


@functools.lru_cache(maxsize=1000)
def _code(source: str) -> Markup:
    return Markup(f"<pre>{highlight(visible(source), PythonLexer(), FORMATTER)}</pre>")


def _told(late: timedelta) -> str:
    """A duration in its two largest units: "2 days 3 hours"; empty if there is none."""
    minutes = -(-int(late.total_seconds()) // 60)
    units = [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")]
    shown = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in units if count]
    return " ".join(shown[:2])
