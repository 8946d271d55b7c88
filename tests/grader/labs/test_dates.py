"""What persons decide survives grading again: points, comments, extra credit, dates and what lateness costs."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.commands.class_run import dates_of
from autograder.errors import CourseError
from autograder.grading.grader import Grader, find_submissions
from autograder.labs.build import answered
from autograder.labs.due import Dates, read_time, read_times, timestamp_beside
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.rows import read_records

CONFIG = """
from nbgrader.plugins import LateSubmissionPlugin

class PointAnHour(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return total_seconds_late / 3600

c = get_config()  # noqa: F821  given by whoever reads this file
c.AssignLatePenalties.plugin_class = PointAnHour
"""

DUE = datetime(2026, 11, 30, 12)


@pytest.fixture
def course(tmp_path: Path) -> Lab:
    """A course with three right submissions, of which one has a time beside it, and an hour costs a point."""
    lab = write_mini(tmp_path)
    (tmp_path / "nbgrader_config.py").write_text(CONFIG)
    for student in ("ann", "bob", "cyd"):
        (tmp_path / "inbox" / student).mkdir(parents=True)
        nbformat.write(answered(lab), tmp_path / "inbox" / student / "00_mini.ipynb")
    (tmp_path / "inbox" / "bob" / "timestamp.txt").write_text("2026-11-30 14:00:00.0 UTC\n")
    return lab


def grade(lab: Lab, grader: Grader, **dates: object) -> None:
    with GradeWriter(lab, lab.root / "grades", Dates(**dates)) as writer:
        for submission in find_submissions(lab, lab.root / "inbox"):
            writer.add(grader.grade(submission))


def book(lab: Lab) -> Gradebook:
    return Gradebook(f"sqlite:///{lab.root / 'grades' / 'gradebook.db'}")


def penalties(lab: Lab) -> dict[str, float | None]:
    with book(lab) as gradebook:
        submissions = gradebook.find_assignment("00_mini").submissions
        return {s.student.id: s.notebooks[0].late_submission_penalty for s in submissions}


def test_what_a_person_decided_survives(course, grader):
    grade(course, grader, due=DUE)
    with book(course) as gradebook:
        for student in ("ann", "bob"):
            why = gradebook.find_grade("why", "00_mini", "00_mini", student)
            why.manual_score, why.needs_manual_grade = 2.5, False
            gradebook.find_comment("why", "00_mini", "00_mini", student).manual_comment = "Well said."
        gradebook.find_grade("why", "00_mini", "00_mini", "ann").extra_credit = 1.0
        gradebook.find_grade("check_double", "00_mini", "00_mini", "ann").extra_credit = 0.5
        gradebook.find_grade("check_counter", "00_mini", "00_mini", "cyd").manual_score = 0.25
        gradebook.db.commit()
    other = answered(course, {"why": "I have changed my mind."})
    nbformat.write(other, course.root / "inbox" / "bob" / "00_mini.ipynb")

    for _ in range(2):
        grade(course, grader)
        with book(course) as gradebook:
            for student in ("ann", "bob"):
                assert gradebook.find_grade("why", "00_mini", "00_mini", student).manual_score == 2.5
                assert gradebook.find_comment("why", "00_mini", "00_mini", student).comment == "Well said."
            assert gradebook.find_submission("00_mini", "ann").score == 4 + 2.5 + 1.0 + 0.5
            assert gradebook.find_submission("00_mini", "cyd").score == 3.25
            assert not gradebook.find_grade("why", "00_mini", "00_mini", "ann").needs_manual_grade
            assert gradebook.find_grade("why", "00_mini", "00_mini", "bob").needs_manual_grade, "the answer is another"
        with (course.root / "grades" / "00_mini.csv").open(newline="") as file:
            rows = {(r["student"], r["question"]): (float(r["score"]), r["status"]) for r in csv.DictReader(file)}
        assert rows["ann", "why"] == (3.5, "graded by hand")
        assert rows["bob", "why"] == (0, "by hand"), "the answer is another, and nobody has read it"
        assert rows["ann", "check_double"] == (2.5, "passed")
        assert rows["cyd", "check_counter"] == (0.25, "graded by hand")


def test_lateness_costs_what_the_plugin_says_and_goes_on_doing_so(course, grader):
    times = {"ann": datetime(2026, 11, 30, 12, 30), "cyd": datetime(2026, 11, 30, 11, 59)}
    expected = {"ann": 0.5, "bob": 2.0, "cyd": None}
    grade(course, grader, due=DUE, handed_in=times)
    assert penalties(course) == expected
    grade(course, grader)  # nothing said: what the gradebook knows stays
    assert penalties(course) == expected
    records = read_records(course.root / "grades")
    assert records.penalties == {("ann", "00_mini"): 0.5, ("bob", "00_mini"): 2.0}
    assert records.submissions["bob", "00_mini"].late.total_seconds() == 2 * 3600
    assert records.totals()["total"].to_dict() == {"ann": 3.5, "bob": 2.0, "cyd": 4.0}


def test_an_extension_moves_the_due_date_of_one(course, grader):
    grade(course, grader, due=DUE, extensions={"bob": datetime(2026, 11, 30, 13, 30)})
    assert penalties(course) == {"ann": None, "bob": 0.5, "cyd": None}
    grade(course, grader)
    assert penalties(course)["bob"] == 0.5


def test_an_extension_of_nothing_is_an_error(course, grader):
    with pytest.raises(CourseError, match="bob has an extension, but 00_mini has no due date"):
        grade(course, grader, extensions={"bob": DUE})


def test_the_command_takes_dates_and_names_who_is_not_there(course):
    (course.root / "times.csv").write_text("student,time,lab\nann,2026-11-30 12:30 UTC,00_mini\nzoe,2026-1-1,00_mini\n")
    (course.root / "own.csv").write_text("student,time\nbob,2026-11-30 13:30 UTC\n")
    folders = ["--submissions", course.root / "inbox", "--output", course.root / "grades"]
    dates = ["--due", "2026-11-30 12:00 UTC", "--timestamps", course.root / "times.csv"]
    own = ["--extensions", course.root / "own.csv"]
    arguments = ["--root", course.root, "grade", "00_mini", *folders, *dates, *own]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "times, but no submission, of zoe" in result.output
    assert penalties(course) == {"ann": 0.5, "bob": 0.5, "cyd": None}
    shown = CliRunner().invoke(main, ["gradebook", "--output", str(course.root / "grades")]).output
    assert shown.count("3.5") == 4, "ann's and bob's points, and their totals"


def test_a_lab_may_say_itself_when_it_is_due_and_the_command_knows_better(tmp_path):
    lab = write_mini(tmp_path, MINI.replace("title: Mini", "title: Mini\n#     due: 2026-11-30 13:00 Europe/Vienna"))
    assert dates_of(lab, None, None, None, {}).due == DUE
    assert dates_of(lab, "2026-12-24 00:00 UTC", None, None, {}).due == datetime(2026, 12, 24)


def test_a_lab_that_says_nothing_leaves_the_gradebook_as_it_is(course):
    assert dates_of(course, None, None, None, {}).due is None


def test_a_penalty_of_a_person_stays_where_no_dates_are_known(course, grader):
    grade(course, grader)
    with book(course) as gradebook:
        gradebook.find_submission("00_mini", "ann").notebooks[0].late_submission_penalty = 1.5
        gradebook.db.commit()
    grade(course, grader)
    assert penalties(course)["ann"] == 1.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("student;time\nann;2026-11-30\n", "no column 'student'"),
        ("student,time\nann,tomorrow-ish\n", "line 2: 'tomorrow-ish' is no time"),
        ("student,time\nann\n", "line 2: '' is no time"),
    ],
)
def test_a_file_of_times_that_cannot_be_read_is_told_by_line(content, words, tmp_path):
    (tmp_path / "times.csv").write_text(content)
    with pytest.raises(CourseError, match=words):
        read_times(tmp_path / "times.csv", "00_mini")


def test_times_have_zones():
    assert read_time("2026-11-30 23:59 Europe/Vienna", "") == datetime(2026, 11, 30, 22, 59)
    assert read_time("2026-11-30 23:59:00+02:00", "") == datetime(2026, 11, 30, 21, 59)


def test_a_timestamp_that_is_none_becomes_a_note(tmp_path):
    notebook = tmp_path / "a.ipynb"
    assert timestamp_beside(notebook) == (None, "")
    (tmp_path / "timestamp.txt").write_text("never")
    assert timestamp_beside(notebook)[0] is None
    assert "'never' is no time" in timestamp_beside(notebook)[1]
    (tmp_path / "timestamp.txt").write_bytes(b"\xff\xfe")
    assert timestamp_beside(notebook) == (None, "timestamp.txt cannot be read")


def test_what_came_by_the_exchange_is_graded_where_it_lies_and_can_get_feedback(tmp_path: Path, grader: Grader) -> None:
    lab = write_mini(tmp_path)
    here = tmp_path / "grades" / "submitted" / "ann" / "00_mini"  # where nbgrader's collect puts it, and we a copy
    here.mkdir(parents=True)
    nbformat.write(answered(lab), here / "00_mini.ipynb")
    (here / "timestamp.txt").write_text("2026-11-30 14:00:00.0 UTC")
    (here / "submission_secret.txt").write_text("0" * 128)
    with GradeWriter(lab, tmp_path / "grades", Dates(due=DUE)) as writer:
        for submission in find_submissions(lab, tmp_path / "grades" / "submitted"):
            writer.add(grader.grade(submission))
    assert read_records(tmp_path / "grades").rows["score"].sum() == lab.max_score
    beside = tmp_path / "grades" / "autograded" / "ann" / "00_mini"  # generate_feedback takes both along from there
    for name in ("timestamp.txt", "submission_secret.txt"):
        assert (beside / name).read_bytes() == (here / name).read_bytes()
    with book(lab) as gradebook:
        assert gradebook.find_submission("00_mini", "ann").total_seconds_late == 2 * 3600
