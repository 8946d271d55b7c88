"""Where a lab stands, from what was handed in to what was handed back, and the one command that is due."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini
from mini_records import write_grades
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.commands.class_run import dates_of, tell_late
from autograder.grading.grader import Graded, Row
from autograder.grading.reading import Submission, student_folders
from autograder.labs.build import answered, build
from autograder.labs.due import Dates
from autograder.labs.lab import Lab
from autograder.records.export import Points
from autograder.records.feedback import write_feedback
from autograder.records.gradebook import GradeWriter
from autograder.records.origins import origins, remember
from autograder.records.roster import read_roster
from autograder.records.rows import read_records
from autograder.records.status import Standing, note_export, standing


def look(lab: Lab) -> Standing:
    grades, roster = lab.root / "grades", read_roster(lab.root / "roster.csv")
    records = read_records(grades) if (grades / "gradebook.db").is_file() else None
    return standing(lab, records, lab.root / "inbox", grades, roster)


def test_a_lab_goes_from_archive_to_export(tmp_path: Path) -> None:
    lab, grades = write_mini(tmp_path), tmp_path / "grades"
    (tmp_path / "roster.csv").write_text("student\nann\nbob\ncyd\n")
    assert look(lab).next == ["course build 00_mini", "course collect 00_mini ARCHIVE"]
    build(lab)
    assert look(lab).absent == {"ann", "bob", "cyd"}

    for student in ("ann", "bob"):
        (tmp_path / "inbox" / student).mkdir(parents=True)
        nbformat.write(answered(lab), tmp_path / "inbox" / student / "00_mini.ipynb")
    now = look(lab)
    assert (now.collected, now.ungraded, now.absent) == ({"ann", "bob"}, {"ann", "bob"}, {"cyd"})
    assert now.next == ["course grade 00_mini"]

    write_grades(lab, grades, {"ann": {}, "bob": {"why": "not attempted"}})
    for student in ("ann", "bob"):
        copy = grades / "submitted" / student / "00_mini" / "00_mini.ipynb"
        copy.write_bytes((tmp_path / "inbox" / student / "00_mini.ipynb").read_bytes())
    assert (look(lab).waiting, look(lab).next) == (1, ["course mark 00_mini"])

    with Gradebook(f"sqlite:///{grades / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "00_mini", "00_mini", "ann")
        grade.manual_score, grade.needs_manual_grade = 1.0, False
        gradebook.db.commit()
    export = "course export 00_mini --to SYSTEM --file FILE"
    assert look(lab).next == ["course feedback 00_mini", export]
    write_feedback(lab, read_records(grades), grades)
    assert look(lab).next == [export]
    note_export(grades, Points(read_records(grades), {}))
    assert look(lab).next == [] and look(lab).exported == {"ann", "bob"}

    with Gradebook(f"sqlite:///{grades / 'gradebook.db'}") as gradebook:
        gradebook.find_grade("why", "00_mini", "00_mini", "ann").manual_score = 2.0
        gradebook.db.commit()
    assert look(lab).exported == look(lab).feedback == {"bob"}, "the points are others now"

    (tmp_path / "inbox" / "bob" / "00_mini.ipynb").write_text("handed in once more")
    assert look(lab).ungraded == {"bob"}
    (lab.source).write_text(MINI.replace("the double of 3 is 6", "twice 3 is 6"))
    changed = look(Lab("00_mini", tmp_path))
    assert changed.outdated == {"ann", "bob"} and changed.next[-1] == "course grade 00_mini"


def test_an_empty_file_that_was_graded_is_not_to_be_graded_again(tmp_path: Path) -> None:
    lab = write_mini(tmp_path)
    (tmp_path / "roster.csv").write_text("student\nann\n")
    (tmp_path / "inbox" / "ann").mkdir(parents=True)
    (tmp_path / "inbox" / "ann" / "00_mini.ipynb").touch()
    empty = Submission.read("ann", lab, tmp_path / "inbox" / "ann")
    rows = [Row("ann", lab.name, q.id, 0.0, q.points, "unreadable", "", "") for q in lab.questions]
    with GradeWriter(lab, tmp_path / "grades") as writer:
        writer.add(Graded(empty, rows))
    assert (look(lab).graded, look(lab).ungraded) == ({"ann"}, set())


def test_the_command_says_what_is_next_in_80_columns(tmp_path: Path) -> None:
    write_mini(tmp_path)
    (tmp_path / "roster.csv").write_text("student\nann\n")
    options = ["--output", str(tmp_path / "grades"), "--submissions", str(tmp_path / "inbox")]
    result = CliRunner().invoke(main, ["--root", str(tmp_path), "status", *options])
    assert result.exit_code == 0, result.output
    assert result.output.endswith("next:\n  course build\n  course collect 00_mini ARCHIVE\n")
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_gradebook_says_who_was_late_and_who_handed_in_nothing(tmp_path: Path) -> None:
    lab, due = write_mini(tmp_path), datetime(2026, 11, 30, 12)
    dates = Dates(due, handed_in={"ann": due + timedelta(hours=26, seconds=1), "bob": due})
    write_grades(lab, tmp_path / "grades", {"ann": {}, "bob": {}}, dates)
    (tmp_path / "roster.csv").write_text("student,name\nann,Ann\nzoe,Zoe\nbob,Bob\n")
    shown = CliRunner().invoke(main, ["--root", str(tmp_path), "gradebook", "--output", str(tmp_path / "grades")])
    assert shown.exit_code == 0, shown.output
    assert "00_mini: ann, 1 d 2 h late, costs nothing" in shown.output
    assert "bob," not in shown.output
    assert "00_mini: not handed in (-): zoe" in shown.output
    assert re.search(r"zoe +│ +- │", shown.output), "a row of their own"


def test_who_has_a_due_date_and_no_time_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab, due = write_mini(tmp_path), datetime(2026, 11, 30, 12)
    write_grades(lab, tmp_path / "none", {"ann": {}, "bob": {}}, Dates())
    tell_late(lab, read_records(tmp_path / "none"))
    assert capsys.readouterr().out == "", "nothing is due"
    write_grades(lab, tmp_path / "some", {"ann": {}, "bob": {}, "cyd": {}}, Dates(due, handed_in={"bob": due}))
    tell_late(lab, read_records(tmp_path / "some"))
    assert "not known when it was handed in, so not late: ann, cyd (--timestamps" in capsys.readouterr().out
    write_grades(lab, tmp_path / "all", {"ann": {}, "bob": {}}, Dates(due))
    tell_late(lab, read_records(tmp_path / "all"))
    assert "so not late: all 2 submissions (" in capsys.readouterr().out


def test_a_folder_by_another_name_of_the_same_person_is_theirs(tmp_path: Path) -> None:
    lab = write_mini(tmp_path)
    (tmp_path / "roster.csv").write_text("student,name\nann,Ann Li\nbob,Bob\n")
    (tmp_path / "inbox" / "Ann Li_12").mkdir(parents=True)
    nbformat.write(answered(lab), tmp_path / "inbox" / "Ann Li_12" / "00_mini.ipynb")
    assert (look(lab).collected, look(lab).absent) == ({"ann"}, {"bob"})


def test_a_name_that_is_shown_in_another_way_is_one_student(tmp_path: Path) -> None:
    """Accents as macOS writes them, and a mark for the direction of reading, as many a name has it."""
    lab, folder, name = write_mini(tmp_path), "e\u0301va\u200e", "\u00e9va\\u200e"
    (tmp_path / "inbox" / folder).mkdir(parents=True)
    nbformat.write(answered(lab), tmp_path / "inbox" / folder / "00_mini.ipynb")
    remember(tmp_path / "inbox", [[folder, "00_mini", "2026-10-05 12:00:00", "", "a.ipynb", "a.zip"]])
    found = standing(lab, None, tmp_path / "inbox", tmp_path / "grades", None)
    assert found.collected == {name} == set(student_folders(tmp_path / "inbox"))
    dates = dates_of(lab, "2026-10-01 12:00", None, None, [name], submissions=tmp_path / "inbox")
    assert dates.handed_in == {name: datetime(2026, 10, 5, 12)}
    assert origins(tmp_path / "inbox", "00_mini") == {name: "a.ipynb"}
