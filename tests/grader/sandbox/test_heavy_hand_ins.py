"""Hand-ins that are made to take long, or much memory, in the processes that grade: each costs its student a row, and
nobody else anything."""

from __future__ import annotations

import csv
import json
import resource
import time

import nbformat
import pytest
from click.testing import CliRunner, Result
from mini_course import DOUBLE, write_mini

from autograder.cli import main
from autograder.labs.build import answered
from autograder.labs.lab import Lab
from autograder.processes import limited
from autograder.records import markdown
from autograder.sandbox.refused import refusals
from course_utils.checks.notebook import MAX_BYTES

PEAK = 500 * 2**20  # bytes by which the grader itself may grow; its libraries take most of it

LONG = 3_000  # lines of an answer


def heavy(lab: Lab) -> dict[str, bytes]:
    """Student -> a notebook to read."""
    plain = json.loads(nbformat.writes(answered(lab)))

    def with_cells(*cells: dict) -> bytes:
        return json.dumps(plain | {"cells": [*plain["cells"], *cells]}).encode()

    def cell(grade_id: str, source: str) -> dict:
        return {"cell_type": "markdown", "source": source, "metadata": {"nbgrader": {"grade_id": grade_id}}}

    def with_answer(**sources: str) -> bytes:
        return nbformat.writes(answered(lab, sources)).encode()

    body = DOUBLE.rpartition("    return")[0]
    long = body + "".join(f"    a{n} = x + {n} * (x - {n})\n" for n in range(LONG)) + "    return x + x\n"
    return {
        "big cells": with_cells(*(cell("double", "x = 1\n" * (15 * 2**20 // 6)) for _ in range(2))),
        "empty dicts": b'{"cells": [], "metadata": [' + b"{}," * 17_000_000 + b"{}]}",
        "no cells": b'{"cells": [' + b"1," * 1_000_000 + b"1]}",
        "deep": b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "one line": with_answer(double=DOUBLE + "x = 1; " * 20_000),
        "formulas": with_answer(why="\\begin{a}" * 8_000),
        "brackets": with_answer(why="[" * 20_000 + "*_`" * 10_000),
        "prints": with_answer(double=f"{DOUBLE}\nprint('a.' * 4_500)"),
        "long one": with_answer(double=long),
        "long two": with_answer(double=long.replace("    a", "    b")),
    }


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory):
    """What `course grade` said of the class, how long it took, and by how much this process grew."""
    root = tmp_path_factory.mktemp("heavy")
    lab = write_mini(root / "course")
    for student, content in (heavy(lab) | {"ann": nbformat.writes(answered(lab)).encode()}).items():
        (root / "inbox" / student).mkdir(parents=True)
        (root / "inbox" / student / "00_mini.ipynb").write_bytes(content)
    (root / "inbox" / "sparse").mkdir()
    with (root / "inbox" / "sparse" / "00_mini.ipynb").open("wb") as file:
        file.truncate(700 * 2**20)
    (root / "inbox" / "files").mkdir()
    for number in range(10_500):
        (root / "inbox" / "files" / f"a rather long name for a notebook {number}.ipynb").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "SECONDS", 3.0)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, time.perf_counter()
        done = run(lab, "grade", "00_mini", "--submissions", root / "inbox", "--output", root / "grades")
        took = time.perf_counter() - began
        yield lab, root, done, took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def run(lab: Lab, *arguments: object) -> Result:
    done = CliRunner().invoke(main, ["--root", str(lab.root), *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def test_each_costs_its_own_student_a_row(graded):
    _lab, root, done, took, grew = graded
    assert done.exit_code == 0, done.output
    with (root / "grades" / "00_mini.csv").open(newline="") as file:
        rows = {(row["student"], row["question"]): (row["status"], row["message"]) for row in csv.DictReader(file)}
    for student in ("ann", "one line", "formulas", "brackets", "prints", "long one", "long two"):
        assert rows[student, "check_double"][0] == "passed", (student, rows[student, "check_double"])
    assert rows["big cells", "check_double"][0] == "unreadable"
    assert "15,728,640 characters" in rows["big cells", "check_double"][1]
    assert rows["big cells", "check_counter"][0] == "passed", "one answer is refused, not all"
    told = {student: message for (student, question), (status, message) in rows.items() if status == "unreadable"}
    assert told["empty dicts"].startswith("what was handed in cannot be read: it took more than ")
    assert told["deep"].startswith("00_mini.ipynb is not a notebook: it is not JSON")
    assert told["no cells"].startswith("00_mini.ipynb is not a notebook: none of its cells has a source")
    assert told["sparse"] == "00_mini.ipynb has 700 MiB (limit 50 MiB)"
    assert told["files"] == "the folder holds more than 10,000 files"
    assert grew < PEAK, f"{grew / 2**20:.0f} MiB"
    assert took < 150


def test_the_copy_of_a_submission_is_what_was_read(graded):
    _lab, root, *_ = graded
    for student, content in heavy(graded[0]).items():
        copy = root / "grades" / "submitted" / student / "00_mini" / "00_mini.ipynb"
        assert copy.read_bytes() == content, student
    assert not (root / "grades" / "submitted" / "sparse" / "00_mini" / "00_mini.ipynb").exists()
    assert sum(path.stat().st_size for path in (root / "grades").rglob("*") if path.is_file()) < 5 * MAX_BYTES


def test_what_was_refused_is_graded_as_it_lies_there(graded):
    lab, root, *_ = graded
    done = run(lab, "status", "--submissions", root / "inbox", "--output", root / "grades")
    assert "not graded as they lie there" not in done.output


def test_the_report_is_no_longer_for_them(graded):
    lab, root, *_ = graded
    assert run(lab, "report", "--output", root / "grades", "--to", root / "report").exit_code == 0
    assert sum(path.stat().st_size for path in (root / "report").glob("*.html")) < 2**20


def test_feedback_of_a_text_that_takes_too_long_shows_it_as_it_was_written(graded, monkeypatch):
    lab, root, *_ = graded
    monkeypatch.setattr(limited, "SECONDS", 3.0)
    began = time.perf_counter()
    done = run(lab, "feedback", "00_mini", "--output", root / "grades")
    assert time.perf_counter() - began < 60
    assert done.exit_code == 1
    assert "formulas: the page shows the answers as they were written" in done.output
    assert "ann:" not in done.output
    pages = {p.parents[1].name: p.read_text() for p in (root / "grades" / "feedback").rglob("*.html")}
    assert len(pages) == len(heavy(lab)) + 3
    assert "Shown as it was written: it took more than 3 s" in pages["formulas"]
    assert "\\begin{a}\\begin{a}" in pages["formulas"]
    assert "Shown as it was written" not in pages["ann"]


def test_long_answers_are_compared_in_time(graded, monkeypatch):
    lab, root, *_ = graded
    monkeypatch.setattr(limited, "SECONDS", 3.0)
    began = time.perf_counter()
    done = run(lab, "similar", "00_mini", "--submissions", root / "inbox")
    assert time.perf_counter() - began < 60
    assert done.exit_code == 1, "some could not be compared"
    for student in ("empty dicts", "sparse", "files", "big cells", "long one", "long two"):
        assert f"NOT compared: {student}: " in done.output
    assert "double: 33," in done.output and "words are too many to be compared" in done.output
    assert "NOT compared: ann" not in done.output


def test_collect_takes_what_is_right_and_names_the_rest(graded, monkeypatch):
    lab, root, *_ = graded
    monkeypatch.setattr(limited, "SECONDS", 3.0)
    began = time.perf_counter()
    done = run(lab, "collect", "00_mini", root / "inbox", "--to", root / "collected")
    assert time.perf_counter() - began < 100
    assert done.exit_code == 1
    assert (root / "collected" / "ann" / "00_mini.ipynb").is_file()
    assert "no notebook of empty dicts: taken all the same: it cannot be read: it took more than" in done.output
    assert len(done.output) < 200_000


def test_signs_of_refusals_are_looked_for_in_time():
    began = time.perf_counter()
    assert refusals(["a" * 20_000, "a.:" * 7_000, f"{'x' * 500} is withheld in this lab"] * 20) == [
        f"withheld: {chr(120) * 100}"
    ]
    assert time.perf_counter() - began < 5


def test_markdown_that_takes_too_long_is_shown_as_it_was_written(monkeypatch):
    monkeypatch.setattr(markdown, "SECONDS", 1.0)
    markdown._limited.cache_clear()
    page = markdown.safe_markdown("\\begin{a}" * 8_000 + "<script>")
    assert "Shown as it was written: it took more than 1 s." in page
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert "<strong>well</strong>" in markdown.safe_markdown("**well**")
    markdown._limited.cache_clear()
