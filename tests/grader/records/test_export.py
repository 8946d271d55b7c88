"""Grades out to a learning system: new tables, its own files filled, and everybody of the class in them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from mini_records import records_of, write_grades
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.errors import CourseError
from autograder.labs.lab import Lab
from autograder.records.export import SYSTEMS, Export, Points, fill, new_table, waiting, write_export
from autograder.records.roster import read_roster
from autograder.records.rows import Records, Submitted
from autograder.sandbox.strangers import visible_cell

STUDENTS = ["ada", "=cmd()!A0", 'Bob "Bobby", Tables', "zoe"]


@pytest.fixture
def grades() -> Records:
    rows = [
        (s, lab, q, p / 2, 2.0, "failed", "")
        for lab, points in (("01_a", [3.0, 2.5, 0.0]), ("02_b", [1.0, 1.0, 1.0, 1.0]))
        for s, p in zip(STUDENTS, points, strict=False)
        for q in ("q1", "q2")
    ]
    return records_of(rows, **{"01_a": {"ada": Submitted(penalty=0.5, comments={"why": "Well said."})}})


@pytest.fixture
def points(grades: Records) -> Points:
    return Points(grades, {})


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "roster.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "id", "email", "name"])
        for number, student in enumerate([*STUDENTS[:3], "who never came"]):
            writer.writerow([student, 100 + number, f"{number}@example.org", student])
    return path


def table(made: Export, path: Path) -> list[dict[str, str]]:
    write_export(made, path)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_new_table_has_everybody_of_the_roster(system, points, roster, tmp_path):
    made = new_table(points, system, read_roster(roster))
    assert made.unknown == ["zoe"] and made.ungraded == ["who never came"] and made.students == 4
    rows = table(made, tmp_path / "out.csv")
    key = {"canvas": "ID", "moodle": "Email address", "gradescope": "Email"}[system]
    mine = {row[key]: row for row in rows if row[key]}
    ids = [f"{100 + n}" if system == "canvas" else f"{n}@example.org" for n in range(4)]
    assert sorted(mine) == ids
    assert [mine[i]["01_a"] for i in ids] == ["2.5", "2.5", "0", ""], "ada was half a point late"
    assert [mine[i]["02_b"] for i in ids] == ["1", "1", "1", ""]
    for row in rows:
        assert not [v for v in row.values() if v and v.lstrip()[0] in "=+-@"]
    if system == "canvas":
        assert rows[0]["Student"].strip() == "Points Possible"
        assert float(rows[0]["01_a"]) == 4.0
        assert mine["101"]["Student"].startswith("'=cmd")
        assert mine["102"]["Student"] == 'Bob "Bobby", Tables'
    if system == "gradescope":
        assert {row["01_a - Max Points"] for row in rows} == {"4"}


def test_what_was_not_handed_in_is_zero_if_wished(grades, roster):
    made = new_table(Points(grades, {}, zero=True), "moodle", read_roster(roster))
    assert [row[2:] for row in made.rows][-1] == ["0", "0"]


def test_all_people_of_a_group_get_its_points(tmp_path):
    (tmp_path / "roster.csv").write_text("student,id,name\nteam_1,101,A\nteam_1,102,B\nada,103,C\n")
    records = records_of([("team_1", "01_a", "q", 2.0, 2.0, "passed", "")])
    made = new_table(Points(records, {}), "canvas", read_roster(tmp_path / "roster.csv"))
    assert [(row[1], row[-1]) for row in made.rows] == [("", "2"), ("101", "2"), ("102", "2"), ("103", "")]
    assert made.ungraded == ["ada"]


def test_who_has_no_id_is_an_error_that_names_the_line(points, tmp_path):
    (tmp_path / "roster.csv").write_text("student,id\nada,1\nzoe,\n")
    with pytest.raises(CourseError, match=r"roster.csv, line 3: zoe has no id, which canvas needs"):
        new_table(points, "canvas", read_roster(tmp_path / "roster.csv"))


CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,Lab 1: a (501),Essay (502),02_b (503),Assignments Current Score
    Points Possible,,,,,4,10,5,(read only)
"Lovelace, Ada",101,-123,ada,CS 1,,7,,55
"Noether, Emmy",102,s2,emmy,"CS 1, CS 2",,8,,
"Student, Test",999,,x,CS 1,,,,
"""


def test_a_file_of_canvas_is_filled_in_its_own_columns_and_nothing_else(tmp_path):
    (tmp_path / "canvas.csv").write_text("\ufeff" + CANVAS, encoding="utf-8")
    rows = [("lovelaceada_101", lab, "q", 1.5, 4.0, "failed", "") for lab in ("01_a", "02_b")]
    points = Points(records_of([*rows, ("zoe", "01_a", "q", 1.0, 4.0, "failed", "")]), {})
    made = fill(points, "canvas", tmp_path / "canvas.csv", None, {"01_a": "Lab 1: a (501)"})
    assert made.unknown == ["zoe"] and len(made.ungraded) == 1
    assert made.header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lab 1: a (501)", "02_b (503)"]
    by_id = {row[1]: row for row in made.rows}
    assert by_id["101"] == ["Lovelace, Ada", "101", "-123", "ada", "CS 1", "1.5", "1.5"], "ids stay what they are"
    assert by_id["102"][-2:] == ["", ""] and by_id["999"][-2:] == ["", ""]
    assert by_id[""][-2:] == ["4", "5"]
    assert any("02_b: 4 points here, 5 in" in note for note in made.notes)


def test_the_course_roster_says_who_the_people_of_the_file_are(tmp_path):
    (tmp_path / "canvas.csv").write_text(CANVAS)
    (tmp_path / "roster.csv").write_text("student,login,name\nteam,ada,A. Lovelace\nteam,emmy,Emmy N.\n")
    points = Points(records_of([("team", "02_b", "q", 3.0, 5.0, "failed", "")]), {})
    made = fill(points, "canvas", tmp_path / "canvas.csv", read_roster(tmp_path / "roster.csv"), {})
    assert [(row[0], row[-1]) for row in made.rows[1:3]] == [("Lovelace, Ada", "3"), ("Noether, Emmy", "3")]
    assert made.unknown == []


@pytest.mark.parametrize("header", ["Quiz (7)", "01 a (7),Lab 1 (8)"])
def test_a_column_that_is_not_clear_is_asked_for(header, points, tmp_path):
    (tmp_path / "canvas.csv").write_text(f"Student,ID,SIS Login ID,{header}\nAda,1,ada,{',' * header.count(',')}\n")
    with pytest.raises(CourseError, match=r"for 01_a: say --column '01_a=NAME' \(its assignments: "):
        fill(points, "canvas", tmp_path / "canvas.csv", None, {})


MOODLE = """Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Feedback comments
Participant 7001,Ada Lovelace,ada@example.org,Submitted for grading,,2.00,Yes,
Participant 7002,Emmy Noether,emmy@example.org,No submission,,2.00,Yes,
Participant 7003,Max Planck,max@example.org,Submitted for grading,1.00,2.00,No,
"""


def test_a_worksheet_of_moodle_is_filled(tmp_path):
    (tmp_path / "sheet.csv").write_text(MOODLE)
    rows = [(s, "01_a", "q", 1.5, 2.0, "failed", "") for s in ("Ada Lovelace_7001", "Max Planck_7003")]
    about = {"01_a": {"Ada Lovelace_7001": Submitted(comments={"why": "Well\nsaid."})}}
    points = Points(records_of(rows, **about), {}, zero=True)
    made = fill(points, "moodle", tmp_path / "sheet.csv", None, {}, comments=True)
    cells = {row[0]: (row[4], row[-1]) for row in made.rows}
    assert cells == {
        "Participant 7001": ("1.5", "why: Well\nsaid."),
        "Participant 7002": ("0", ""),
        "Participant 7003": ("1.00", ""),
    }
    assert made.header == MOODLE.splitlines()[0].split(",")
    assert any("7003" in note and "cannot be changed" in note for note in made.notes)


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_a_filled_file_is_written_as_it_was(encoding, separator, tmp_path):
    text = MOODLE.replace("Ada", "Jos\u00e9").replace(",", separator)
    (tmp_path / "sheet.csv").write_text(text, encoding=encoding, newline="\r\n")
    points = Points(records_of([("emmy@example.org", "01_a", "q", 1.5, 2.0, "failed", "")]), {})
    write_export(fill(points, "moodle", tmp_path / "sheet.csv", None, {}), tmp_path / "filled.csv")
    expected = text.replace(f"No submission{separator}{separator}", f"No submission{separator}1.5{separator}")
    assert (tmp_path / "filled.csv").read_bytes().decode(encoding).splitlines() == expected.splitlines()


def test_a_number_that_is_somebody_else_s_in_the_file_gives_nobody_s_points_away(tmp_path):
    (tmp_path / "roster.csv").write_text("student,id,email\nada,7002,ada@example.org\nemmy,5,emmy@example.org\n")
    (tmp_path / "sheet.csv").write_text(MOODLE)
    points = Points(records_of([(s, "01_a", "q", p, 2.0, "failed", "") for s, p in (("ada", 1.5), ("emmy", 0.5))]), {})
    made = fill(points, "moodle", tmp_path / "sheet.csv", read_roster(tmp_path / "roster.csv"), {})
    assert [(row[1], row[4]) for row in made.rows][:2] == [("Ada Lovelace", "1.5"), ("Emmy Noether", "0.5")]


def test_what_a_system_cannot_take_is_said(points, tmp_path):
    (tmp_path / "a.csv").write_text(MOODLE)
    for system, comments, words in (
        ("moodle", False, "name the one lab"),
        ("canvas", True, "takes no comments"),
        ("gradescope", False, "leave --into away"),
    ):
        with pytest.raises(CourseError, match=words):
            fill(points, system, tmp_path / "a.csv", None, {}, comments)


def test_comments_go_into_a_new_table(points, roster):
    made = new_table(points, "moodle", read_roster(roster), comments=True)
    assert made.header[-2:] == ["01_a feedback", "02_b feedback"]
    assert made.rows[0][-2:] == ["why: Well said.", ""]


@pytest.fixture
def course(mini: Lab, tmp_path: Path):
    def run(*arguments: object, code: int = 0) -> str:
        options = ["--root", tmp_path, arguments[0], "--output", tmp_path / "grades", *arguments[1:]]
        result = CliRunner().invoke(main, list(map(str, options)))
        assert result.exit_code == code, result.output + result.stderr
        return " ".join((result.output + result.stderr).split())

    write_grades(mini, tmp_path / "grades", {student: {} for student in ("ada", "zoe")})
    return run


def test_answers_that_wait_hold_an_export_back(course, roster, tmp_path, mini):
    options = ["export", "--to", "canvas", "--file", tmp_path / "out.csv", "--roster", roster]
    told = course(*options, code=2)
    assert "2 answers of 2 students wait for a person (ada, zoe)" in told and "course mark" in told
    assert not (tmp_path / "out.csv").exists()
    assert "their points are those so far" in course(*options, "--waiting", code=1)
    with Gradebook(f"sqlite:///{tmp_path / 'grades' / 'gradebook.db'}") as gradebook:
        for student in ("ada", "zoe"):
            grade = gradebook.find_grade("why", "00_mini", "00_mini", student)
            grade.manual_score, grade.needs_manual_grade = 1.0, False
        gradebook.db.commit()
    told = course(*options, code=1)
    assert "NOT in the list of people: zoe" in told and "not handed in: =cmd" in told and "who never came" in told


def test_it_takes_labs_and_the_roster_of_the_course(course, roster, tmp_path):
    assert "no grades of 01_x" in course(
        "export", "01_x", "--to", "moodle", "--file", tmp_path / "o.csv", "--waiting", code=2
    )
    (tmp_path / "roster.csv").unlink()
    options = ["export", "--to", "moodle", "--file", tmp_path / "o.csv", "--waiting"]
    assert "who is in the class?" in course(*options, code=2)
    (tmp_path / "roster.csv").write_text("student,email\nada,a@example.org\nzoe,z@example.org\n")
    assert "2 students, 00_mini" in course(*options)


def test_who_waits_is_named(grades):
    assert waiting(grades) == ""


def test_rows_without_a_gradebook_can_be_exported(tmp_path):
    (tmp_path / "grades").mkdir()
    rows = "student,lab,question,score,max_score,status,message\n007,02_x,q,2.0,2.0,passed,\n"
    (tmp_path / "grades" / "02_x.csv").write_text(rows)
    (tmp_path / "roster.csv").write_text("student,id\n007,12\n")
    arguments = ["--output", "grades", "--to", "canvas", "--roster", "roster.csv", "--file", "out.csv"]
    paths = [str(tmp_path / a) if a in ("grades", "roster.csv", "out.csv") else a for a in arguments]
    assert CliRunner().invoke(main, ["export", *paths]).exit_code == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[-1].endswith(",12,,,,2")


@pytest.mark.parametrize("text", ["=1+1", "+x", "-1+1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
def test_formulas_become_text(text):
    assert visible_cell(text) == f"'{text}".replace("\r", "\\r")


@pytest.mark.parametrize("text", ["a=1", "-123", "+4", "4711", "-1.5"])
def test_other_texts_and_numbers_stay(text):
    assert visible_cell(text) == text
