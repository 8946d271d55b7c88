"""The gradebook is the one place of grades: a run changes those it graded, tells what it changes, and can be undone."""

from __future__ import annotations

import csv
import shutil
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import DOUBLE
from mini_records import write_grades
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import Grader, Submission, Task
from autograder.labs.build import answered
from autograder.labs.due import Dates
from autograder.labs.lab import Lab
from autograder.records import backups
from autograder.records.backups import backed_up, undo
from autograder.records.changes import changes, summary, whose
from autograder.records.gradebook import GradeWriter, nbgrader_id
from autograder.records.rows import read_records

TRIPLE = DOUBLE.replace("x + x", "3 * x")


@pytest.fixture
def course(mini: Lab, grader: Grader, tmp_path: Path):
    """Runs a command; the class of ann, bob and cyd has been graded into ``grades``."""
    with GradeWriter(mini, tmp_path / "grades") as writer:
        for student in ("ann", "bob", "cyd"):
            hand_in(mini, tmp_path / "inbox", student)
            writer.add(grader.grade(Submission.read(student, mini, tmp_path / "inbox" / student)))

    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["--root", str(mini.root), *map(str, arguments)])
        assert result.exit_code == code, result.output + result.stderr
        return result.output + result.stderr

    return run


def hand_in(lab: Lab, inbox: Path, student: str, **answers: str) -> None:
    (inbox / student).mkdir(parents=True, exist_ok=True)
    nbformat.write(answered(lab, answers), inbox / student / "00_mini.ipynb")


def csv_rows(grades: Path) -> dict[tuple[str, str], tuple[str, str]]:
    with (grades / "00_mini.csv").open(newline="") as file:
        return {(r["student"], r["question"]): (r["score"], r["status"]) for r in csv.DictReader(file)}


def state(grades: Path) -> list[dict]:
    return read_records(grades).rows.drop(columns="seconds").to_dict("records")


def test_grading_some_changes_only_theirs(course, mini, tmp_path):
    before, rows = csv_rows(tmp_path / "grades"), state(tmp_path / "grades")
    hand_in(mini, tmp_path / "late", "bob", double=TRIPLE)
    hand_in(mini, tmp_path / "late", "dan")
    options = ["--submissions", tmp_path / "late", "--output", tmp_path / "grades"]

    told = course("grade", "00_mini", *options, "--dry-run")
    assert state(tmp_path / "grades") == rows and csv_rows(tmp_path / "grades") == before
    assert "bob\n  check_double: 2/2 passed -> 0/2 failed" in told
    assert "dan: new" in told
    assert "no grade written: 1 row of 1 student would change, 1 student new, 2 students as before" in told
    assert max(map(len, told.splitlines())) <= 100

    assert "1 row of 1 student changed, 1 student new, 2 students as before" in course("grade", "00_mini", *options)
    after = csv_rows(tmp_path / "grades")
    assert {key: row for key, row in after.items() if key[0] in ("ann", "cyd")} == {
        key: row for key, row in before.items() if key[0] in ("ann", "cyd")
    }
    assert after["bob", "check_double"] == ("0.0", "failed")
    assert {student for student, _ in after} == {"ann", "bob", "cyd", "dan"}
    for command in (["gradebook"], ["report", "--to", tmp_path / "report"]):
        shown = course(*command, "--output", tmp_path / "grades")
        page = shown if command == ["gradebook"] else (tmp_path / "report" / "00_mini.html").read_text()
        assert all(student in page for student in ("ann", "bob", "cyd", "dan")), command


def test_a_class_shrinks_only_when_told(course, mini, tmp_path):
    options = ["--submissions", tmp_path / "inbox", "--output", tmp_path / "grades"]
    shutil.rmtree(tmp_path / "inbox" / "cyd")
    assert "3 students as before" in course("grade", "00_mini", *options)
    told = course("grade", "00_mini", *options, "--forget", "cyd", "--dry-run")
    assert "cyd\n  check_double: 2/2 passed -> gone" in told and "1 student gone" in told
    assert ("cyd", "why") in csv_rows(tmp_path / "grades")
    told = course("grade", "00_mini", *options, "--forget", "cyd", "--forget", "zoe")
    assert "1 student gone" in told and "no grades of zoe" in told
    assert {student for student, _ in csv_rows(tmp_path / "grades")} == {"ann", "bob"}
    assert not (tmp_path / "grades" / "autograded" / "cyd" / "00_mini").exists()
    with Gradebook(f"sqlite:///{tmp_path / 'grades' / 'gradebook.db'}") as gradebook:
        assert {s.student.id for s in gradebook.find_assignment("00_mini").submissions} == {"ann", "bob"}
    assert "1 student new" in course("undo", "--output", tmp_path / "grades")
    assert ("cyd", "why") in csv_rows(tmp_path / "grades")


def test_a_look_at_a_student_says_what_the_gradebook_has(course, mini, tmp_path):
    with Gradebook(f"sqlite:///{tmp_path / 'grades' / 'gradebook.db'}") as gradebook:
        for question, points in (("why", 2.5), ("check_double", 1.0)):
            grade = gradebook.find_grade(question, "00_mini", "00_mini", "ann")
            grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()
    options = ["--submissions", tmp_path / "inbox", "--output", tmp_path / "grades"]
    told = course("grade", "00_mini", *options)
    assert "3 submissions graded (8 passed, 2 graded by hand, 2 by hand)" in told
    told = course("grade", "00_mini", *options, "--student", "ann")
    assert "00_mini: 4 points; in the gradebook 5.5" in told and "waits for" not in told
    assert "check_double: passed, 2 of 2" in told and "  in the gradebook: graded by hand, 1 of 2" in told
    assert "  in the gradebook: graded by hand, 2.5 of 3" in told and told.count("in the gradebook") == 3


def test_undo_names_whose_comment_it_takes_back(course, mini, tmp_path):
    with (
        backed_up(tmp_path / "grades"),
        Gradebook(f"sqlite:///{tmp_path / 'grades' / 'gradebook.db'}") as gradebook,
    ):
        gradebook.find_comment("why", "00_mini", "00_mini", "bob").manual_comment = "meant for ann"
        gradebook.db.commit()
    told = course("undo", "--output", tmp_path / "grades")
    assert "1 row of 1 student changed back, 2 students as before\nchanged back: bob\n" in told


def test_what_was_handed_in_by_the_exchange_is_not_deleted_with_the_grade(course, mini, tmp_path):
    submitted = tmp_path / "grades" / "submitted"
    course("grade", "00_mini", "--submissions", submitted, "--output", tmp_path / "grades", "--forget", "cyd")
    assert (submitted / "cyd" / "00_mini" / "00_mini.ipynb").is_file()
    assert not (tmp_path / "grades" / "autograded" / "cyd" / "00_mini").exists()


def test_what_a_person_types_counts_at_once_and_a_changed_answer_waits_everywhere(course, mini, tmp_path):
    grades = tmp_path / "grades"
    with Gradebook(f"sqlite:///{grades / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "00_mini", "00_mini", "ann")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        by_hand = gradebook.find_grade("check_counter", "00_mini", "00_mini", "bob")
        by_hand.manual_score, by_hand.needs_manual_grade = 0.5, False
        gradebook.db.commit()
    assert read_records(grades).totals()["total"].to_dict() == {"ann": 6.5, "bob": 3.5, "cyd": 4.0}

    hand_in(mini, tmp_path / "inbox", "ann", why="I have changed my mind.")
    counter = next(c.source for c in mini.cells if c.id == "counter")
    hand_in(mini, tmp_path / "inbox", "bob", counter=counter + "\n# once more")
    told = course("grade", "00_mini", "--submissions", tmp_path / "inbox", "--output", grades, "--dry-run")
    assert "  why: 2.5/3 graded by hand -> 0/3 by hand\n      why has changed since a person gave it 2.5 points" in told
    course("grade", "00_mini", "--submissions", tmp_path / "inbox", "--output", grades)
    assert csv_rows(grades)["ann", "why"] == ("0.0", "by hand")
    assert csv_rows(grades)["bob", "check_counter"] == ("0.0", "by hand"), "the exercise that is checked is another"
    assert "has changed" in read_records(grades).rows.set_index(["student", "question"]).loc[("ann", "why"), "message"]
    with Gradebook(f"sqlite:///{grades / 'gradebook.db'}") as gradebook:
        assert gradebook.find_grade("why", "00_mini", "00_mini", "ann").needs_manual_grade


def test_an_answer_that_vanished_loses_what_a_person_gave_to_another_look(course, mini, tmp_path):
    with Gradebook(f"sqlite:///{tmp_path / 'grades' / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "00_mini", "00_mini", "ann")
        grade.manual_score, grade.needs_manual_grade = 3.0, False
        gradebook.db.commit()
    (tmp_path / "inbox" / "ann" / "00_mini.ipynb").write_text("{]")
    course("grade", "00_mini", "--submissions", tmp_path / "inbox", "--output", tmp_path / "grades")
    assert csv_rows(tmp_path / "grades")["ann", "why"] == ("0.0", "by hand")


def test_the_last_ten_gradebooks_are_kept_and_none_of_runs_that_changed_nothing(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(backups, "KEPT", 3)
    for number in range(6):
        with backed_up(tmp_path):
            write_grades(mini, tmp_path, {f"s{number}": {}})
    assert len(backups.backups(tmp_path)) == 3
    with backed_up(tmp_path):
        write_grades(mini, tmp_path, {"s5": {}})
    assert len(backups.backups(tmp_path)) == 3
    for number in (5, 4, 3):
        undo(tmp_path)
        assert sorted(set(read_records(tmp_path).rows["student"])) == [f"s{n}" for n in range(number)]
    with pytest.raises(CourseError, match="nothing can be undone"):
        undo(tmp_path)


def test_a_run_that_fails_leaves_its_copy(mini, tmp_path):
    write_grades(mini, tmp_path, {"ann": {}})
    with pytest.raises(RuntimeError), backed_up(tmp_path):
        write_grades(mini, tmp_path, {"bob": {}})
        raise RuntimeError
    undo(tmp_path)
    assert set(read_records(tmp_path).rows["student"]) == {"ann"}


def test_changes_name_what_comes_and_goes(mini, tmp_path):
    write_grades(mini, tmp_path / "a", {"ann": {}, "bob": {"check_double": "failed"}})
    write_grades(mini, tmp_path / "b", {"bob": {}, "cyd": {}})
    old, new = read_records(tmp_path / "a"), read_records(tmp_path / "b")
    found = {(c.student, c.question): (c.before, c.after) for c in changes(old, new, "00_mini")}
    assert found["bob", "check_double"] == ("0/2 failed", "2/2 passed")
    assert found["ann", "check_double"] == ("2/2 passed", "") and found["cyd", "check_double"] == ("", "2/2 passed")
    assert ("bob", "check_counter") not in found
    told = summary(old, new, "00_mini", tense="changed")
    assert told == "1 row of 1 student changed, 1 student new, 1 student gone"
    assert whose(old, new, "00_mini") == ["bob"], "who is there before and after"
    assert changes(None, old, "00_mini") and not changes(old, old, "00_mini")


@pytest.mark.parametrize("name", ["a[1]b", "why?", "st*r", "x{y}", "a%5Bb"])
def test_names_that_are_patterns_of_files_stay_names(name, mini, tmp_path):
    write_grades(mini, tmp_path, {name: {}, "ann": {}})
    assert set(read_records(tmp_path).rows["student"]) == {name, "ann"}
    assert not set(nbgrader_id(name)) & set("[]*?{}")
    (lone,) = (tmp_path / "autograded").glob(f"{nbgrader_id(name)}/00_mini/00_mini.ipynb")
    assert {p.name for p in lone.parent.iterdir()} == {"00_mini.ipynb", "timestamp.txt", "submission_secret.txt"}


def test_an_archive_in_place_of_a_folder_names_collect(mini, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    result = CliRunner().invoke(
        main, ["--root", str(mini.root), "grade", "00_mini", "--submissions", str(tmp_path / "x.zip")]
    )
    assert result.exit_code == 2
    assert "x.zip is no folder: take it apart with `course collect LAB" in result.stderr.replace("\n", "")


def test_the_gradebook_of_many_labs_fits_80_columns(mini, tmp_path):
    for number in range(1, 8):
        lab = Lab("00_mini", mini.root)
        lab.name = f"{number:02}_a_lab_with_quite_a_long_name"
        write_grades(lab, tmp_path, {"Ada Lovelace": {}, "bob": {}})
    shown = CliRunner().invoke(main, ["gradebook", "--output", str(tmp_path)]).output
    assert max(map(len, shown.splitlines())) <= 80
    assert "Ada Lovelace" in shown and "07: 07_a_lab_with_quite_a_long_name" in shown
    assert "course mark" in shown


def test_what_is_wrong_with_the_gradebook_is_told_of_it_and_not_of_a_copy(mini, tmp_path):
    (tmp_path / "gradebook.db").write_text("no database\n" * 100)
    with pytest.raises(CourseError) as told, backups.rehearsal(tmp_path) as place:
        write_grades(mini, place, {"ann": {}})
    assert str(told.value).startswith(f"{tmp_path / 'gradebook.db'} is not a gradebook")


@pytest.mark.parametrize("exchange", [True, False])
def test_what_a_student_laid_into_the_folder_of_copies_is_not_followed(exchange: bool, mini, tmp_path):
    """As nbgrader's collect may have brought it there: links out of the folder, where copy and time belong."""
    outside = tmp_path / "outside.txt"
    outside.write_text("canary")
    folder = tmp_path / "submitted" / "eve" / "00_mini"
    folder.mkdir(parents=True)
    (folder / "00_mini.ipynb").symlink_to(outside)
    (folder / "timestamp.txt").symlink_to(outside)
    (tmp_path / "inbox").mkdir()
    dates = Dates(handed_in={"eve": datetime(2026, 11, 30)}, exchange=tmp_path / "submitted" if exchange else None)
    submission = Submission.read("eve", mini, tmp_path / ("submitted" if exchange else "inbox") / "eve")
    with GradeWriter(mini, tmp_path, dates) as writer:
        writer.add(Task(submission).finish(None))
    assert outside.read_text() == "canary"
    assert (folder / "timestamp.txt").is_symlink() == exchange, "what the exchange brought stays"
    assert (folder / "00_mini.ipynb").is_symlink() == exchange
