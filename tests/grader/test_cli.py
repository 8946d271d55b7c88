"""The command line: files, exit codes, and one clear line for every bad input."""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3
import zipfile
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import DOUBLE
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.commands import shown
from autograder.labs.build import answered, release
from autograder.labs.lab import Lab
from autograder.records.gradebook import nbgrader_id


@pytest.fixture(scope="module")
def inbox(mini: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inbox")
    for student, notebook in {
        "ann": answered(mini),
        "bob": release(mini),
        "cy <img src=x onerror=alert(1)>": answered(mini, {"double": DOUBLE.replace("x + x", "x"), "why": "Dunno."}),
    }.items():
        (folder / student).mkdir()
        nbformat.write(notebook, folder / student / "00_mini.ipynb")
    (folder / "dan").mkdir()
    (folder / "dan" / "00_mini.ipynb").write_bytes(b"{]")
    (folder / "eve").mkdir()
    return folder


def course(lab: Lab, *arguments: object):
    return CliRunner().invoke(main, ["--root", str(lab.root), *map(str, arguments)])


@pytest.fixture(scope="module")
def graded(mini: Lab, inbox: Path, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("grades")
    result = course(mini, "grade", "00_mini", "--submissions", inbox, "--output", output)
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if line.startswith("cannot be read: ")]
    assert [line.split(": ")[1] for line in told] == ["dan", "eve"] and "is not a notebook" in told[0]
    return output


def rows_of(output: Path) -> dict[str, dict[str, dict[str, str]]]:
    table: dict[str, dict[str, dict[str, str]]] = {}
    with (output / "00_mini.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["student"], {})[row["question"]] = row
    return table


def test_csv_has_a_row_for_every_question_of_everybody(graded):
    header = (graded / "00_mini.csv").read_text().splitlines()[0]
    assert header == "student,lab,question,score,max_score,status,message"
    rows = rows_of(graded)
    assert {len(r) for r in rows.values()} == {4}
    totals = {s[:3]: sum(float(r["score"]) for r in rs.values()) for s, rs in rows.items()}
    assert totals == {"ann": 4.0, "bob": 0.0, "cy ": 2.0, "dan": 0.0, "eve": 0.0}
    assert {r["status"] for r in rows["bob"].values()} == {"not attempted"}
    assert {r["status"] for r in rows["dan"].values()} == {"unreadable"}
    assert "00_mini.ipynb is not a notebook" in rows["dan"]["check_double"]["message"]
    assert "00_mini.ipynb is missing" in rows["eve"]["check_double"]["message"]


def test_gradebook_is_nbgraders_own_and_agrees(graded):
    with Gradebook(f"sqlite:///{graded / 'gradebook.db'}") as gradebook:
        for student, rows in rows_of(graded).items():
            submission = gradebook.find_submission("00_mini", nbgrader_id(student))
            assert submission.score == sum(float(r["score"]) for r in rows.values())
            assert submission.max_score == 7
        assert gradebook.find_submission("00_mini", "ann").needs_manual_grade
        assert not gradebook.find_submission("00_mini", "bob").needs_manual_grade
        assert not gradebook.find_submission("00_mini", "dan").needs_manual_grade


def test_a_persons_grade_survives_grading_again(graded, mini, inbox, tmp_path):
    output = tmp_path / "grades"
    shutil.copytree(graded, output)
    with Gradebook(f"sqlite:///{output / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "00_mini", "00_mini", "ann")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        gradebook.db.commit()
    before = rows_of(output)
    assert course(mini, "grade", "00_mini", "--submissions", inbox, "--output", output).exit_code == 0
    after = rows_of(output)
    assert (after["ann"]["why"]["score"], after["ann"]["why"]["status"]) == ("2.5", "graded by hand")
    after["ann"]["why"] = before["ann"]["why"]
    assert after == before


def test_autograded_notebooks_tell_verdicts_and_no_secret(graded):
    notebook = nbformat.read(graded / "autograded/bob/00_mini/00_mini.ipynb", as_version=4)
    check = next(c for c in notebook.cells if c["id"] == "check_double")
    assert check.outputs[0].ename == "not attempted"
    assert "HIDDEN" not in nbformat.writes(notebook)


def test_grading_again_gives_the_same_bytes(graded, mini, inbox, tmp_path):
    course(mini, "grade", "00_mini", "--submissions", inbox, "--output", tmp_path)
    assert (tmp_path / "00_mini.csv").read_bytes() == (graded / "00_mini.csv").read_bytes()


def test_gradebook_command_prints_everybody(graded, mini):
    result = course(mini, "gradebook", "--output", graded)
    assert result.exit_code == 0
    for student in ("ann", "bob", "dan", "eve"):
        assert student in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grade", "01_none", "--submissions", "."], "there is no lab '01_none'"),
        (["grade", "00_mini", "--submissions", "nowhere"], "the submissions folder nowhere does not exist"),
        (["grade", "--submissions", "."], "say which lab to grade"),
        (["gradebook", "--output", "nowhere"], "there are no grades in nowhere"),
        (["report", "--output", "nowhere"], "there are no grades in nowhere"),
        (["gates", "01_none"], "there is no lab '01_none'"),
        (["build", "01_none"], "there is no lab '01_none'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(mini, arguments, words):
    result = course(mini, *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert words in result.stderr


def test_an_empty_submissions_folder_is_an_error(mini, tmp_path):
    result = course(mini, "grade", "00_mini", "--submissions", tmp_path)
    assert result.exit_code == 2
    assert "holds no student's folder" in result.stderr


def test_a_file_that_is_no_gradebook_is_named(mini, inbox, tmp_path):
    (tmp_path / "gradebook.db").write_text("these are my notes, not a database\n" * 100)
    result = course(mini, "grade", "00_mini", "--submissions", inbox, "--output", tmp_path)
    assert result.exit_code == 2
    assert "gradebook.db is not a gradebook" in result.stderr
    assert "notes" in (tmp_path / "gradebook.db").read_text()


def test_a_gradebook_of_another_version_of_the_lab_is_refused_not_mixed(graded, mini, inbox, tmp_path):
    database = tmp_path / "gradebook.db"
    shutil.copyfile(graded / "gradebook.db", database)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE base_cell SET name = 'check_old' WHERE name = 'check_double'")
    result = course(mini, "grade", "00_mini", "--submissions", inbox, "--output", tmp_path)
    assert result.exit_code == 2
    assert "holds grades for another version of 00_mini" in result.stderr


def test_build_check_tells_drift(mini):
    assert course(mini, "build", "--check").exit_code == 1
    assert course(mini, "build").exit_code == 0
    assert course(mini, "build", "--check").exit_code == 0


def test_help_teaches(mini):
    text = course(mini, "--help").output
    for command in ("build", "grade", "gradebook", "report", "gates", "data", "doctor", "collect", "export", "similar"):
        assert command in text


def test_data_lists_what_is_found_and_what_to_do(mini, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(shown.console, "width", 500)  # no cell is broken, however long the course's own path is
    text = course(mini, "data").output
    for name in ("shapes", "cifar10", "imagenet_val", "imagenet/imagenet_250.zip"):
        assert name in text
    assert "course data --fetch" in text


def test_an_unknown_data_set_is_one_line(mini):
    result = course(mini, "data", "--fetch", "imagenet")
    assert result.exit_code == 2
    assert "imagenet" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_names_that_formgrader_would_run_are_defused(graded):
    with Gradebook(f"sqlite:///{graded / 'gradebook.db'}") as gradebook:
        assert not [s.id for s in gradebook.students if set(s.id) & set("<>&\"'")]
    assert nbgrader_id("José Ñandú-2@x.org") == "José Ñandú-2@x.org"
    assert nbgrader_id("<a>") != nbgrader_id("%3Ca%3E")


def test_one_student_can_be_looked_at(mini, inbox, tmp_path):
    (tmp_path / "inbox" / "fay").mkdir(parents=True)
    source = "print('at the top')\n" + DOUBLE.replace(
        "    if", "    print('\\x1b[31m[bold]called[/] with', x)\n    if", 1
    )
    nbformat.write(answered(mini, {"double": source}), tmp_path / "inbox" / "fay" / "00_mini.ipynb")
    arguments = [
        "grade",
        "00_mini",
        "--submissions",
        tmp_path / "inbox",
        "--output",
        tmp_path / "o",
        "--student",
        "fay",
    ]
    result = course(mini, *arguments)
    assert result.exit_code == 0
    assert "check_double: passed, 2 of 2" in result.output
    assert "called" not in result.output
    result = course(mini, *arguments, "--verbose")
    assert "at the top" in result.output, "printed by the cell"
    assert "[bold]called[/] with 3" in result.output, "printed while the check called it"
    assert "\x1b[31m" not in result.output, "what a stranger prints does not steer the terminal"
    assert not (tmp_path / "o").exists(), "no grade is written"


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--verbose"], "say which with --student"), (["--student", "zoe"], "there is no folder")]
)
def test_a_look_at_nobody_is_refused(mini, inbox, arguments, words):
    result = course(mini, "grade", "00_mini", "--submissions", inbox, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_two_courses_are_not_mixed(tmp_path, monkeypatch):
    for name in ("solutions", "autograder"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 2 and "this folder is a course of its own, and this `course` takes labs" in result.stderr


def test_who_handed_in_no_notebook_is_graded_and_not_called_absent(mini, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("ann/00_mini.ipynb", nbformat.writes(answered(mini)))
        archive.writestr("bob/work.rar", b"Rar!")
        archive.writestr("cyd/work.rar", b"Rar!")
    (tmp_path / "roster.csv").write_text("student\nann\nbob\ncyd\ndan\n")
    inbox, roster = ["--submissions", tmp_path / "inbox"], ["--roster", tmp_path / "roster.csv"]
    output = ["--output", tmp_path / "grades"]
    result = course(mini, "collect", "00_mini", tmp_path / "in.zip", "--to", tmp_path / "inbox", *roster)
    assert result.exit_code == 1 and "no notebook of bob: work.rar: a rar archive is not opened" in result.output
    assert f"2 of these will be graded as unreadable, unless you lay a notebook into {tmp_path}" in result.output
    (tmp_path / "inbox" / "cyd").mkdir()
    nbformat.write(answered(mini), tmp_path / "inbox" / "cyd" / "00_mini.ipynb")  # unpacked by hand

    result = course(mini, "grade", "00_mini", *inbox, *output, *roster)
    assert "cannot be read: bob: work.rar: a rar archive is not opened" in result.output
    assert "not handed in: dan\n" in result.output and "3 submissions graded" in result.output
    rows = rows_of(tmp_path / "grades")
    assert list(rows) == ["ann", "bob", "cyd"] and rows["cyd"]["check_double"]["status"] == "passed"
    assert {(r["status"], r["score"]) for r in rows["bob"].values()} == {("unreadable", "0.0")}
    told = course(mini, "status", *inbox, *output, *roster).output
    assert re.search(r"00_mini +│ +3 │ +3 │", told), told

    result = course(mini, "grade", "00_mini", *inbox, *output, *roster, "--student", "bob")
    assert result.exit_code == 0 and "unreadable, 0 of 2" in result.output and "a rar archive" in result.output

    result = course(mini, "similar", "00_mini", *inbox)
    assert result.exit_code == 1 and "NOT compared: bob: work.rar" in result.output
    result = course(mini, "grade", "00_mini", *inbox, *output, *roster, "--forget", "bob")
    assert "bob" not in rows_of(tmp_path / "grades"), "until the class is graded again"
