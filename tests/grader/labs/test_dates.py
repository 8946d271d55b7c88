"""What persons decide survives grading again: points, comments, extra credit, dates and what lateness costs."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

from autograder.cli import main
from autograder.commands.class_run import dates_of
from autograder.errors import CourseError
from autograder.grading.grader import Grader
from autograder.grading.reading import find_submissions
from autograder.labs.build import answered
from autograder.labs.due import Clock, Dates, named_zone, read_time, timestamp_beside
from autograder.labs.lab import Lab
from autograder.records.gradebook import GradeWriter
from autograder.records.origins import remember
from autograder.records.roster import Person, Roster
from autograder.records.rows import read_records
from autograder.records.times import read_times

CONFIG = """
from nbgrader.plugins import LateSubmissionPlugin

class PointAnHour(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return total_seconds_late / 3600

c = get_config()  # noqa: F821  given by whoever reads this file
c.AssignLatePenalties.plugin_class = PointAnHour
"""

DUE = datetime(2026, 11, 30, 12)

COLLECTED = "grades/submitted"
"""Where nbgrader's exchange collects."""


@pytest.fixture
def course(tmp_path: Path) -> Lab:
    """A course with three right submissions from an exchange, one with a time beside it; an hour costs a point."""
    lab = write_mini(tmp_path)
    (tmp_path / "nbgrader_config.py").write_text(CONFIG)
    for student in ("ann", "bob", "cyd"):
        (tmp_path / COLLECTED / student / "00_mini").mkdir(parents=True)
        nbformat.write(answered(lab), tmp_path / COLLECTED / student / "00_mini" / "00_mini.ipynb")
    (tmp_path / COLLECTED / "bob" / "00_mini" / "timestamp.txt").write_text("2026-11-30 14:00:00.0 UTC\n")
    return lab


def grade(lab: Lab, grader: Grader, **dates: object) -> None:
    with GradeWriter(lab, lab.root / "grades", Dates(**dates, exchange=lab.root / COLLECTED)) as writer:
        for submission in find_submissions(lab, lab.root / COLLECTED):
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
    nbformat.write(other, course.root / COLLECTED / "bob" / "00_mini" / "00_mini.ipynb")

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


def test_a_new_due_date_of_all_moves_nobody_s_own(course, grader):
    grade(course, grader, due=DUE, extensions={"bob": datetime(2026, 11, 30, 13, 30)})
    grade(course, grader, due=DUE + timedelta(hours=1))
    assert penalties(course)["bob"] == 0.5, "due at half past one, as before"
    grade(course, grader, due=DUE + timedelta(hours=1, minutes=45))
    assert penalties(course)["bob"] == 0.25, "all have more time by now"


def test_an_extension_of_nothing_is_an_error(course, grader):
    with pytest.raises(CourseError, match="bob has an extension, but 00_mini has no due date"):
        grade(course, grader, extensions={"bob": DUE})


def test_the_command_takes_dates_and_names_who_is_not_there(course):
    (course.root / "times.csv").write_text(
        "student,time,lab\nann,2026-11-30 12:30 UTC,00_mini\nzoe,2026-1-1 0:00 UTC,00_mini\n"
    )
    (course.root / "own.csv").write_text("student,time\nbob,2026-11-30 13:30 UTC\n")
    folders = ["--submissions", course.root / COLLECTED, "--output", course.root / "grades"]
    dates = ["--due", "2026-11-30 12:00 UTC", "--timestamps", course.root / "times.csv"]
    own = ["--extensions", course.root / "own.csv"]
    arguments = ["--root", course.root, "grade", "00_mini", *folders, *dates, *own]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "times, but no submission, of zoe" in result.output
    assert penalties(course) == {"ann": 0.5, "bob": 0.5, "cyd": None}
    shown = CliRunner().invoke(main, ["gradebook", "--output", str(course.root / "grades")]).output
    assert shown.count("3.5") == 2, "ann's and bob's points"


def test_a_lab_may_say_itself_when_it_is_due_and_the_command_knows_better(tmp_path):
    lab = write_mini(tmp_path, MINI.replace("title: Mini", "title: Mini\n#     due: 2026-11-30 13:00 Europe/Vienna"))
    assert dates_of(lab, None, None, None, {}).due == DUE
    assert dates_of(lab, "2026-12-24 00:00 UTC", None, None, {}).due == datetime(2026, 12, 24)


def test_what_the_command_knew_better_stays_with_its_zone(tmp_path, capsys):
    lab = write_mini(tmp_path, MINI.replace("title: Mini", "title: Mini\n#     due: 2026-11-30 13:00 UTC"))
    grades = tmp_path / "grades"
    (tmp_path / "times.csv").write_text("student,time\nann,2026-12-24 00:30\n")
    for due, told in (("2026-12-24 00:00 Europe/Vienna", ""), (None, "due as an earlier --due said, not as the lab")):
        dates = dates_of(lab, due, tmp_path / "times.csv", None, {"ann": None}, output=grades)
        assert dates.handed_in == {"ann": datetime(2026, 12, 23, 23, 30)}
        assert told in capsys.readouterr().out
        GradeWriter(lab, grades, dates)
    with Gradebook(f"sqlite:///{grades / 'gradebook.db'}") as gradebook:
        assert gradebook.find_assignment("00_mini").duedate == datetime(2026, 12, 23, 23)
    assert dates_of(lab, "2026-12-25 00:00 UTC", None, None, {}, output=grades).due == datetime(2026, 12, 25)


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
        ("student;date\nann;2026-11-30\n", "no column 'time'"),
        ("student,time\nann,tomorrow-ish\n", "line 2: 'tomorrow-ish' is no time"),
        ("student,time\nann\n", "line 2: '' is no time"),
        ("\nstudent,time\n\nann,2026-11-30 12:00 MARS\n", "line 4: the zone 'MARS' is not known"),
        ("student,time\nann,2026-11-30 1:00 UTC\nann,2026-11-30 2:00 UTC\n", "line 3: 'ann' stands there twice"),
        ("student,time\nann,1/12/2026 10:00\n", "line 2: '1/12/2026 10:00' may be 2026-01-12 or 2026-12-01"),
    ],
)
def test_a_file_of_times_that_cannot_be_read_is_told_by_line(content, words, tmp_path):
    (tmp_path / "times.csv").write_text(content)
    with pytest.raises(CourseError, match=words):
        read_times(tmp_path / "times.csv", "00_mini")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-30 23:59 Europe/Vienna", datetime(2026, 11, 30, 22, 59)),
        ("2026-07-30 23:59 Europe/Vienna", datetime(2026, 7, 30, 21, 59)),
        ("2026-11-30 23:59:00+02:00", datetime(2026, 11, 30, 21, 59)),
        ("2026-11-30 20:00:00 -0700", datetime(2026, 12, 1, 3)),  # git, Gradescope
        ("2026-11-30 20:00 PST", datetime(2026, 12, 1, 4)),
        ("2026-11-30T23:59:00Z", datetime(2026, 11, 30, 23, 59)),  # Canvas's API
        ("2026-11-30T23:59:00.123456+00:00", datetime(2026, 11, 30, 23, 59, 0, 123456)),
        ("2026-11-30 23:59:00.0 UTC", datetime(2026, 11, 30, 23, 59)),  # nbgrader
        ("2026-11-30 23:59 UTC+2", datetime(2026, 11, 30, 21, 59)),
        ("Mon, 30 Nov 2026 20:00:00 -0700", datetime(2026, 12, 1, 3)),  # e-mail
        ("Monday, 5 October 2026, 11:23 PM", datetime(2026, 10, 5, 23, 23)),  # Moodle
        ("Montag, 5. Oktober 2026, 23:23", datetime(2026, 10, 5, 23, 23)),  # Moodle, in German
        ("Oct 5, 2026 at 12:05am", datetime(2026, 10, 5, 0, 5)),  # Canvas
        ("5-Oct-2026 12:05 PM", datetime(2026, 10, 5, 12, 5)),
        ("30.11.2026 23:59", datetime(2026, 11, 30, 23, 59)),
        ("11/30/2026 11:59 PM", datetime(2026, 11, 30, 23, 59)),
        ("5/5/2026 10:00", datetime(2026, 5, 5, 10)),
        ("2026-11-30\u202f23:59", datetime(2026, 11, 30, 23, 59)),  # a narrow space, as newer systems put before PM
    ],
)
def test_times_as_systems_and_people_write_them(text, utc):
    assert read_time(text, "") == utc


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1/12/2026 10:00", "may be 2026-01-12 or 2026-12-01"),
        ("2.12.2026 23:59", "may be 2026-02-12 or 2026-12-02"),
        ("2026-11-30", "may be the day's beginning or its end"),
        ("2026-10-25 02:30 Europe/Vienna", "clocks in Europe/Vienna are changed at 2026-10-25 02:30"),
        ("2026-03-29 02:30 Europe/Vienna", "clocks in Europe/Vienna are changed"),
        ("2026-11-30 20:00 IST", "the zone 'IST' is not known"),
        ("2026-11-30 20:00 Europe/Wien", "the zone 'Europe/Wien' is not known"),
        ("2026-11-30 20:00 ../../etc/passwd", "is not known"),
        ("2026-11-30 20:00 -25:00", "is not known"),
        ("2026-11-31 10:00", "is no time: day"),
        ("30.02.2026 10:00", "is no time: day"),
        ("2026-11-30 25:00", "is no time: hour"),
        ("0001-01-01 00:00 +14:00", "before the year 1"),
        ("9999-12-31 23:59 -12:00", "after 9999"),
        ("2026-11-30 13:00 PM", "no clock shows 13"),
        ("5 Oktobra 2026 10:00", "the month 'Oktobra' is not known"),
        ("30.11.26 10:00", "is no time"),
        ("1764543540", "is no time"),
        ("", "is no time"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused(text, words):
    with pytest.raises(CourseError, match=words):
        read_time(text, "times.csv, line 2")


def test_times_without_a_zone_are_read_in_one_that_is_told():
    clock = Clock(named_zone("Europe/Vienna", ""), "that of the due date")
    assert read_time("2026-11-30 23:59", "a.csv, line 2", clock) == datetime(2026, 11, 30, 22, 59)
    assert read_time("2026-11-30 23:59", "a.csv, line 3", clock) == datetime(2026, 11, 30, 22, 59)
    assert read_time("2026-11-30 23:59 UTC", "a.csv, line 4", clock) == datetime(2026, 11, 30, 23, 59)
    assert clock.told() == ["a.csv: 2 times without a zone, read in Europe/Vienna (that of the due date)"]


WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum grade,Last modified (submission)\n"
    'Participant 12,Ann Li,ann@x.org,Submitted for grading,,10,"Monday, 30 November 2026, 1:30 PM"\n'
    "Participant 13,Bob Ek,bob@x.org,No submission,,10,-\n"
    'Participant 14,Cyd Om,cyd@x.org,Submitted for grading,,10,"Monday, 30 November 2026, 11:00 AM"\n'
)
SCORES = (
    "First Name,Last Name,SID,Email,Sections,Total Score,Submission Time,Lateness (H:M:S)\n"
    "Ann,Li,1,ann@x.org,,5,2026-11-30 04:30:00 -0800,00:30:00\nBob,Ek,2,bob@x.org,,,,\n"
)


@pytest.mark.parametrize(
    ("content", "folders"),
    [
        (WORKSHEET, ["Ann Li_12", "Cyd Om_14"]),
        (WORKSHEET, ["Team 1-Ann Li_12", "cyd@x.org"]),
        (SCORES, ["ann@x.org", "nobody"]),
    ],
)
def test_times_of_a_system_s_own_file(content, folders, tmp_path):
    (tmp_path / "times.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    clock = Clock(named_zone("Europe/Vienna", ""), "")
    times = read_times(tmp_path / "times.csv", "00_mini", clock, students=folders)
    assert times[folders[0]] == datetime(2026, 11, 30, 12, 30)
    assert times.get(folders[1]) == (datetime(2026, 11, 30, 10) if "Cyd" in content else None)


def test_a_roster_says_whom_a_file_of_times_means(tmp_path):
    roster = Roster([Person("ann", name="Ann Li", email="ann@x.org", id="4711")])
    (tmp_path / "own.csv").write_text("student,time\nAnn Li_99,2026-11-30 12:30 UTC\n4711,2026-11-30 12:30 UTC\n")
    assert read_times(tmp_path / "own.csv", "00_mini", roster=roster) == {"ann": datetime(2026, 11, 30, 12, 30)}
    (tmp_path / "theirs.csv").write_text(SCORES)
    found = read_times(tmp_path / "theirs.csv", "00_mini", roster=roster, students=["ann"])
    assert found == {"ann": datetime(2026, 11, 30, 12, 30)}


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
    with GradeWriter(lab, tmp_path / "grades", Dates(due=DUE, exchange=tmp_path / COLLECTED)) as writer:
        for submission in find_submissions(lab, tmp_path / COLLECTED):
            writer.add(grader.grade(submission))
    assert read_records(tmp_path / "grades").rows["score"].sum() == lab.max_score
    beside = tmp_path / "grades" / "autograded" / "ann" / "00_mini"  # generate_feedback takes both along from there
    for name in ("timestamp.txt", "submission_secret.txt"):
        assert (beside / name).read_bytes() == (here / name).read_bytes()
    with book(lab) as gradebook:
        assert gradebook.find_submission("00_mini", "ann").total_seconds_late == 2 * 3600


@pytest.mark.parametrize(
    ("place", "is_exchange"),
    [("inbox/ann", False), ("inbox/ann/00_mini", False), ("grades/submitted/ann/00_mini/00_mini", True)],
)
def test_a_time_that_a_student_lays_counts_nothing(
    place: str, is_exchange: bool, tmp_path: Path, grader: Grader
) -> None:
    """Outside of what an exchange collected, and deeper than it lays its own, all files are the student's."""
    lab, here = write_mini(tmp_path), tmp_path / place
    here.mkdir(parents=True)
    nbformat.write(answered(lab), here / "00_mini.ipynb")
    (here / "timestamp.txt").write_text("2026-11-29 00:00:00.0 UTC")
    (here / "submission_secret.txt").write_text("0" * 128)
    submissions, output = tmp_path / (COLLECTED if is_exchange else "inbox"), tmp_path / "grades"
    dates = dates_of(lab, "2026-11-30 12:00 UTC", None, None, ["ann"], submissions=submissions, output=output)
    assert (dates.exchange is not None) is is_exchange
    with GradeWriter(lab, output, dates) as writer:
        writer.add(grader.grade(find_submissions(lab, submissions)[0]))
    with book(lab) as gradebook:
        assert gradebook.find_submission("00_mini", "ann").timestamp is None
    beside = output / "autograded" / "ann" / "00_mini"
    assert (beside / "timestamp.txt").read_text() == "not known\n"
    assert (beside / "submission_secret.txt").read_text() != "0" * 128


def run(lab: Lab, *arguments: object) -> str:
    folders = ["--submissions", lab.root / COLLECTED, "--output", lab.root / "grades", "--workers", 1]
    result = CliRunner().invoke(main, ["--root", *map(str, [lab.root, "grade", "00_mini", *folders, *arguments])])
    assert result.exit_code == 0, result.output
    return result.output


def test_who_is_late_and_what_it_costs_is_told_also_before(course):
    due = ["--due", "2026-11-30 13:00 Europe/Vienna"]
    (course.root / "times.csv").write_text("student,time\nann,2026-11-30 13:30\ncyd,2026-11-28 13:30\n")
    for more in (["--dry-run"], []):
        told = run(course, *due, "--timestamps", course.root / "times.csv", *more)
        assert "times.csv: 2 times without a zone, read in Europe/Vienna (that of the due date)" in told
        assert "late: ann, 30 min late, -0.5 points" in told
        assert "late: bob, 2 h 0 min late, -2 points" in told
        assert "late: cyd" not in told
    assert penalties(course) == {"ann": 0.5, "bob": 2.0, "cyd": None}


def test_formgrader_does_not_want_to_grade_again_what_has_its_time_from_a_file(course):
    (course.root / "times.csv").write_text("student,time\nann,2026-11-30 12:30:15.5 UTC\n")
    inbox = (course.root / COLLECTED).rename(course.root / "inbox")
    run(course, "--due", "2026-11-30 12:00 UTC", "--timestamps", course.root / "times.csv", "--submissions", inbox)
    directory = CourseDirectory(root=str(course.root / "grades"), db_url=f"sqlite:///{course.root}/grades/gradebook.db")
    api = NbGraderAPI(directory)
    assert api.get_autograded_students("00_mini") == {"ann", "bob", "cyd"}
    assert api.get_submission("00_mini", "ann")["display_timestamp"].startswith("2026-11-30 12:30:15")


def test_what_an_archive_says_of_times_is_used(course):
    remember(
        course.root / COLLECTED,
        [
            ["ann", "00_mini", "2026-11-30 13:30:00", "", "x", "in.zip", ""],
            ["cyd", "00_mini", "", "late", "y", "in.zip", ""],
            ["cyd", "01_other", "2026-11-30 19:00:00", "", "z", "in.zip", ""],
        ],
    )
    told = run(course, "--due", "2026-11-30 13:00 Europe/Vienna")
    assert "collected.csv: 1 time without a zone, read in Europe/Vienna" in told
    assert "late: ann, 30 min late, -0.5 points" in told
    assert "late: cyd, 1 min late" in told
    about = read_records(course.root / "grades").submissions["cyd", "00_mini"]
    assert about.late.total_seconds() == 1
    assert any("not by how much: counted as one second" in note for note in about.notes)
    (course.root / "times.csv").write_text("student,time\ncyd,2026-11-30 15:00 UTC\n")
    assert "late: cyd, 3 h 0 min late, -3 points" in run(course, "--timestamps", course.root / "times.csv")
    told = run(course)
    assert "late: cyd, 3 h 0 min late, -3 points" in told, "what is known better stays"
    assert "late: ann, 30 min late, -0.5 points" in told, "the zone of the due date is not forgotten"


def test_the_roster_s_names_stand_in_the_gradebook_and_who_is_missing_is_told(course):
    (course.root / "roster.csv").write_text("student,name,id\nann.li,Ann,ann\nbob,Bob,2\nzoe,Zoe,3\nyan,Yan,4\n")
    (course.root / COLLECTED / "yan").mkdir()
    told = run(course, "--due", "2026-11-30 12:00 UTC")
    assert "not handed in: yan, zoe" in told or "not handed in: zoe, yan" in told
    assert set(read_records(course.root / "grades").rows["student"]) == {"ann.li", "bob", "cyd"}
    assert "4 points" in run(course, "--student", "Ann")


def test_a_folder_with_other_labs_only_is_not_a_hand_in(course):
    folder = course.root / "solutions" / "01_other"
    folder.mkdir()
    (folder / "01_other.py").write_text("# %%\n")
    (course.root / COLLECTED / "dan").mkdir()
    (course.root / COLLECTED / "dan" / "01_other.ipynb").write_text("{}")
    assert "not handed in: dan" in run(course)
    assert "dan" not in set(read_records(course.root / "grades").rows["student"])


def test_a_line_of_no_lab_is_told(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("student,time,lab\nann,2026-11-30 12:00,01_other\nbob,2026-11-30 12:00,00_minni\n")
    with pytest.raises(CourseError, match=r"times.csv, line 3: '00_minni' is no lab .labs: 00_mini, 01_other"):
        read_times(path, "00_mini", labs=["01_other", "00_mini"])
