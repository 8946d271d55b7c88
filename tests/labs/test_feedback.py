"""Feedback pages, as nbgrader makes them too, for every lab's sample class: nothing secret, nothing that runs."""

from __future__ import annotations

import html
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from traitlets.config import PyFileConfigLoader

from autograder import ROOT
from autograder.authoring.answered import checks_of, released_answers
from autograder.authoring.gates import secret_lines
from autograder.grading.grader import Graded, Grader, Submission
from autograder.labs.build import answered, release
from autograder.labs.lab import Lab, lab_names
from autograder.records.gradebook import GradeWriter

EXPECTED = "what only an instructor may read, 0.12345"

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>[a](javascript:alert(1))"


class Page(HTMLParser):
    """The text that a reader sees, and what a browser would run."""

    def __init__(self, source: str):
        super().__init__()
        self.parts: list[str] = []
        self.acting: list[str] = []
        self.inside = ""
        self.feed(source)
        self.text = squeezed("".join(self.parts))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside = tag if tag in ("script", "style") else ""
        runs = [f"{n}={v}" for n, v in attributes if n.startswith("on") or (v or "").lower().startswith("javascript:")]
        if runs or tag in ("script", "iframe", "object", "embed", "svg"):
            self.acting.append(f"{tag} {attributes}")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.acting.append(data)
        elif not self.inside:
            self.parts.append(data)


def squeezed(text: str) -> str:
    return " ".join(text.replace("¶", " ").split())


def feedback(lab: Lab, graded: list[Graded], folder: Path) -> dict[str, Page]:
    """What `course grade` and nbgrader's Generate Feedback make, by this course's nbgrader_config.py."""
    with GradeWriter(lab, folder) as writer:
        for each in graded:
            writer.add(each)
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    directories = {f"{name}_directory": name for name in ("submitted", "autograded", "feedback")}
    course = {"root": str(folder), "db_url": f"sqlite:///{folder / 'gradebook.db'}", "assignment_id": lab.name}
    config.CourseDirectory.update(directories | course)
    GenerateFeedback(coursedir=CourseDirectory(config=config), config=config).start()
    pages = (folder / "feedback").glob("*/*/*.html")
    return {path.parent.parent.name: Page(path.read_text(encoding="utf-8")) for path in pages}


def what_leaks(lab: Lab, graded: Graded, page: Page) -> list[str]:
    # what a student wrote is no secret, nor what stands in the release, be it on several lines there
    public = [*graded.submission.answers.sources.values(), *(cell.source for cell in release(lab).cells)]
    own = squeezed("\n".join(public))
    leaks = [line for line in map(squeezed, secret_lines(lab)) if line in page.text and line not in own]
    return leaks + [line for line in kept_back(graded) if line in page.text]


def kept_back(graded: Graded) -> list[str]:
    """What hidden expectations say that they expect, unless it is told elsewhere."""
    told = {squeezed(line) for row in graded.rows for line in row.public.splitlines()}
    lines = {squeezed(line) for row in graded.rows for line in row.message.splitlines()}
    return sorted(line for line in lines - told if len(line) > 3)


def telling(graded: dict[str, Graded]) -> list[str]:
    """Ada, who has all points, mallory, and as many others as it takes to see every status and every message that
    keeps something back: a page takes nbgrader two seconds."""
    chosen, seen = ["ada", "mallory"], set()
    for student, each in graded.items():
        new = {r.status for r in each.rows} | {(r.question, r.message) for r in each.rows if r.message != r.public}
        if student in chosen or not new <= seen:
            seen |= new
            chosen.append(student)
    return list(dict.fromkeys(chosen))


def as_of_hidden_lines(graded: Graded) -> Graded:
    """The same as if hidden lines had found each mistake: the shown ones find nearly all, so nobody may be left."""
    rows = [
        replace(r, message=f"{r.message}\n  expected  {EXPECTED}") if r.status == "failed" else r for r in graded.rows
    ]
    return replace(graded, rows=rows)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", lab_names())
def test_feedback_gives_nothing_away_and_runs_nothing(name: str, grader: Grader, graded_class, tmp_path: Path):
    lab = Lab(name)
    mallory = tmp_path / "mallory"
    mallory.mkdir()
    printing = {lab.exercises[0].id: f"print({SCRIPT!r})\nraise ValueError({SCRIPT!r})"}
    written = {cell.id: SCRIPT for cell in lab.answers if cell.kind == "written"}
    nothing_else = released_answers(lab).sources  # so that no line of a right answer is her own
    nbformat.write(answered(lab, nothing_else | printing | written), mallory / f"{name}.ipynb")
    graded = {student.name: each for student, each in graded_class(name)}
    graded["mallory"] = grader.grade(Submission.read("mallory", lab, mallory))
    failed = next(name for name, each in graded.items() if any(row.status == "failed" for row in each.rows))
    graded[failed] = as_of_hidden_lines(graded[failed])
    hidden = [r for g in graded.values() for r in g.rows if r.message != r.public]
    assert hidden, "somebody fails a hidden expectation, else this test would say nothing"
    graded = {student: graded[student] for student in telling(graded)}
    kept = {(r.question, r.message) for g in graded.values() for r in g.rows}
    assert all((r.question, r.message) in kept for r in hidden)

    pages = feedback(lab, list(graded.values()), tmp_path / "grades")

    assert pages.keys() == graded.keys()
    for student, page in pages.items():
        assert what_leaks(lab, graded[student], page) == [], student
        assert page.acting == pages["ada"].acting, f"{student}: something of theirs runs"
        for row in graded[student].rows:
            if row.status in ("failed", "error", "timeout", "crashed", "missing"):
                assert squeezed(row.public.splitlines()[0])[:80] in page.text, f"{student}, {row.question}"
        points = sum(r.score for r in graded[student].rows)
        most = sum(q.points for q in lab.questions)
        assert f"{points:g} of {most:g} points" in page.text, student


def test_the_scan_finds_what_it_looks_for(grader: Grader, tmp_path: Path):
    """A page with a secret line, an expected value or a script does not pass."""
    lab = Lab(lab_names()[0])
    wrong = lab.variants(right=False)[0]
    nbformat.write(answered(lab, {wrong.exercise: wrong.source}), tmp_path / f"{lab.name}.ipynb")
    own = [cell.id for cell in checks_of(lab, wrong.exercise)]
    graded = as_of_hidden_lines(grader.grade(Submission.read("ada", lab, tmp_path), only=own))
    variant = next(r for r in graded.rows if r.message != r.public)
    assert what_leaks(lab, graded, Page("<p>nothing</p>")) == []
    assert what_leaks(lab, graded, Page(f"<pre>{html.escape(variant.message)}</pre>"))
    others = Submission.read("ada", lab, tmp_path)
    others.answers.sources = {}
    secret = secret_lines(lab)[0]
    assert what_leaks(lab, Graded(others, []), Page(f"<pre>{html.escape(secret)}</pre>")) == [squeezed(secret)]
    assert Page(SCRIPT).acting
