"""How far a student is in each lab, read from the saved notebooks: the table of the start page.

A lab's notebook says it all: nbgrader's metadata tells which cells are exercises, checks and written questions, and
each check leaves its verdict (`VERDICT`) among its outputs. Nothing is run.

Stands on Python's library alone, so that the start page is there at once: no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from course_utils.checks.notebook import Unreadable, read_notebook

__all__ = ["PLACEHOLDER", "VERDICT", "Progress", "overview", "progress_of", "read_all"]

VERDICT = "application/vnd.quantization-course.check+json"
"""The MIME type of a verdict of `panel`: a dict with ``exercise``, ``passed`` and ``hints``."""

PLACEHOLDER = "YOUR ANSWER HERE"
"""What nbgrader puts in a written answer's place."""


@dataclass(frozen=True)
class Progress:
    """One lab, as its notebook was saved.

    Attributes:
        link: where the notebook lies, from the folder of the labs; a relative URL.
        title: the lab's number and title, or its folder's name.
        passed, exercises: an exercise is passed when all its checks are.
        points, max_points: of the checks; the points of those that pass.
        answered, questions: written ones.
        due: with a time zone, or None.
        problem: why the notebook cannot be read; then nothing else is known.
    """

    link: str
    title: str
    passed: int = 0
    exercises: int = 0
    points: float = 0.0
    max_points: float = 0.0
    answered: int = 0
    questions: int = 0
    due: datetime | None = None
    problem: str = ""

    @property
    def done(self) -> bool:
        return not self.problem and (self.passed, self.answered) == (self.exercises, self.questions)


def read_all(folder: Path) -> list[Progress]:
    """The progress of every lab in a folder: of every ``<lab>/<lab>.ipynb``, by name."""
    paths = sorted(p for p in folder.glob("*/*.ipynb") if p.stem == p.parent.name)
    return [progress_of(path) for path in paths]


def progress_of(path: Path) -> Progress:
    """The progress in one notebook, ``<lab>/<lab>.ipynb``. Never raises: what is wrong is told in ``problem``."""
    link = quote(f"{path.parent.name}/{path.name}")
    try:
        notebook = read_notebook(path)
    except Unreadable as error:  # the other labs are to be shown
        return Progress(link, path.stem, problem=str(error))
    course = notebook.metadata.get("course")
    course = course if isinstance(course, dict) else {}
    passes: dict[str, list[bool]] = {}  # exercise -> whether each of its checks passes
    points = max_points = 0.0
    answers: list[bool] = []
    exercise = ""
    for cell in notebook.cells:
        role = cell["metadata"].get("nbgrader", {})
        match cell["cell_type"], bool(role.get("solution")), bool(role.get("grade")):
            case "code", True, False:
                exercise = str(role.get("grade_id"))
            case "code", False, True:
                passed = _passed(cell["outputs"])
                passes.setdefault(exercise, []).append(passed)
                worth = role.get("points")
                worth = worth if isinstance(worth, int | float) else 0
                points += worth * passed
                max_points += worth
            case "markdown", True, True:
                answers.append(cell["source"].strip() not in ("", PLACEHOLDER))
    number, title = path.stem.partition("_")[0], course.get("title")
    titled = isinstance(title, str) and bool(title)
    return Progress(
        link=link,
        title=path.stem if not titled else f"{int(number)}: {title}" if number.isdecimal() else title,
        passed=sum(all(checks) for checks in passes.values()),
        exercises=len(passes),
        points=points,
        max_points=max_points,
        answered=sum(answers),
        questions=len(answers),
        due=_time(course.get("due")),
    )


def _passed(outputs: list[dict]) -> bool:
    """Whether the check that left these outputs passed when it ran last."""
    told = [output["data"][VERDICT] for output in outputs if VERDICT in output.get("data", {})]
    verdicts = [isinstance(verdict, dict) and verdict.get("passed") is True for verdict in told]
    failed = any(output.get("output_type") == "error" for output in outputs)
    return bool(verdicts) and all(verdicts) and not failed


def _time(text: object) -> datetime | None:
    """A time as the build writes it; one without a zone is UTC, as everywhere in nbgrader. None if it is no time."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


def overview(folder: Path = Path(), now: datetime | None = None) -> str:
    """What the start page says of the labs, in Markdown: where to go on, a table, and what could not be read.

    Everything is said in words and numbers, so that it can be listened to. Links are relative to ``folder``.

    Args:
        folder: where the labs lie, each in a folder of its own.
        now: with a time zone; the present if None.
    """
    labs, now = read_all(folder), now or datetime.now(UTC)
    if not labs:
        return f"There is no lab in the folder `{folder.resolve()}`."
    columns = ["Lab", "Exercises passed", "Points of the checks", "Written answers"]
    columns += ["Due"] if any(lab.due for lab in labs) else []
    rows = [columns, ["---"] * len(columns)]
    for lab in labs:
        name = f"[{_plain(lab.title)}]({lab.link})"
        if lab.problem:
            rows.append([name, "the notebook cannot be read, see below"] + [""] * (len(columns) - 2))
            continue
        row = [name, f"{lab.passed} of {lab.exercises}", f"{lab.points:g} of {lab.max_points:g}"]
        row += [f"{lab.answered} of {lab.questions}", _due(lab.due, now)]
        rows.append(row[: len(columns)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    broken = [f"- `{lab.link}` cannot be read: {_plain(lab.problem)}" for lab in labs if lab.problem]
    if broken:
        broken += ["", "Keep your file under another name, and take a fresh copy of the lab."]
    return "\n\n".join(filter(None, [_next(labs), table, "\n".join(broken)]))


def _next(labs: list[Progress]) -> str:
    """Where to go on."""
    left = [lab for lab in labs if not lab.done and not lab.problem]
    if not left:
        return ""
    begun = any(lab.points or lab.answered for lab in labs)
    return f"**{'Go on' if begun else 'Begin'} with [{_plain(left[0].title)}]({left[0].link}).**"


def _due(due: datetime | None, now: datetime) -> str:
    """When a lab is due, on this computer's clock, and how long that is from now."""
    if due is None:
        return "no date"
    minutes = int(abs(due - now).total_seconds() // 60)
    days, hours = minutes // (24 * 60), minutes // 60
    # from two days on in days, from two hours on in hours: "1 day" could be an hour or 47
    span = f"{days} days" if days >= 2 else f"{hours} hours" if hours >= 2 else f"{minutes} minutes"
    left = f"{span} left" if due > now else f"{span} ago"
    return f"{due.astimezone():%d %b %Y, %H:%M %Z}, {left}"


def _plain(text: str) -> str:
    """Text in one line that means itself in a cell of a Markdown table."""
    return " ".join(text.split()).translate({ord(sign): f"\\{sign}" for sign in "\\`*_[]<>|"})
