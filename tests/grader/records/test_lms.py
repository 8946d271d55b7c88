"""Grades out to a learning system; and which answers are alike."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import DOUBLE
from mini_records import records_of, write_grades

from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import Submission
from autograder.grading.submission import Answers
from autograder.labs.build import answered
from autograder.labs.lab import Lab
from autograder.records.export import SYSTEMS, export, harmless, read_roster, write_export
from autograder.records.rows import Records, Submitted
from autograder.records.similar import similar

# --- out

STUDENTS = ["ada", "=cmd|' /C calc'!A0", 'Bob "Bobby", Tables', "zoe"]


@pytest.fixture
def grades() -> Records:
    rows = [
        (s, lab, q, p / 2, 2.0, "failed", "")
        for lab, points in (("01_a", [3.0, 2.5, 0.0]), ("02_b", [1.0, 1.0, 1.0, 1.0]))
        for s, p in zip(STUDENTS, points, strict=False)
        for q in ("q1", "q2")
    ]
    return records_of(rows, **{"01_a": {"ada": Submitted(penalty=0.5)}})


@pytest.fixture
def roster(tmp_path) -> Path:
    path = tmp_path / "roster.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "id", "email", "name"])
        for number, student in enumerate([*STUDENTS[:3], "who never came"]):
            writer.writerow([student, 100 + number, f"{number}@example.org", student])
    return path


@pytest.mark.parametrize("system", SYSTEMS)
def test_exported_files_can_be_read_again(system, grades, roster, tmp_path):
    made = export(grades, system, read_roster(roster, system))
    assert made.unknown == ["zoe"]
    assert made.ungraded == ["who never came"]
    write_export(made, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    key = next(iter(SYSTEMS[system]))
    mine = {row[key]: row for row in rows if row[key]}
    ids = ["100", "101", "102"] if system == "canvas" else [f"{n}@example.org" for n in range(3)]
    assert sorted(mine) == ids
    assert [mine[i]["01_a"] for i in ids] == ["2.5", "2.5", "0.0"], "ada was half a point late"
    assert [mine[i]["02_b"] for i in ids] == ["1.0"] * 3
    for row in rows:
        assert not [v for v in row.values() if v and v.lstrip()[0] in "=+-@"]
    if system == "canvas":
        assert rows[0]["Student"].strip() == "Points Possible"
        assert float(rows[0]["01_a"]) == 4.0
        assert mine["101"]["Student"].startswith("'=cmd")
        assert mine["102"]["Student"] == 'Bob "Bobby", Tables'
    if system == "gradescope":
        assert {row["01_a - Max Points"] for row in rows} == {"4.0"}


def test_a_lab_not_handed_in_stays_empty(grades, roster, tmp_path):
    roster.write_text("student,email\nzoe,z@example.org\n")
    write_export(export(grades, "moodle", read_roster(roster, "moodle")), tmp_path / "out.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert (row["01_a"], row["02_b"]) == ("", "1.0")


def test_the_command_names_who_is_not_in_the_roster(mini: Lab, roster, tmp_path):
    write_grades(mini, tmp_path / "grades", {student: {} for student in ("ada", "zoe")})
    options = ["--to", "canvas", "--roster", roster, "--output", tmp_path / "grades", "--file", tmp_path / "out.csv"]
    result = CliRunner().invoke(main, ["export", *map(str, options)])
    assert result.exit_code == 1
    assert "NOT in the roster: zoe" in result.output
    assert "who never came" in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("student,email\na,b@x\n", "no column 'id'"),
        ("name,id\na,1\n", "no column 'student'"),
        ("student,id\na,1\na,2\n", "student 'a' stands there twice"),
        ("student,id\na,1\nb,1\n", "id '1' stands there twice"),
        ("student,id\na,\n", "a has no id"),
        ("", "no column 'student'"),
    ],
)
def test_a_roster_that_cannot_be_used_is_told(content, words, tmp_path):
    (tmp_path / "roster.csv").write_text(content)
    with pytest.raises(CourseError, match=words):
        read_roster(tmp_path / "roster.csv", "canvas")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
def test_formulas_become_text(text):
    assert harmless(text) == f"'{text}"
    assert harmless("a=1") == "a=1"


# --- alike

LONG = '''
def double(x):
    """Twice x."""
    if isinstance(x, str):
        raise ValueError("no strings")
    total, rounds = x * 0, 2
    for number in range(rounds):
        total = total + x
    check = [total - x, total - x]
    return total if len(check) == rounds else check[0] + check[1]
'''


def submission(lab: Lab, student: str, source: str) -> Submission:
    return Submission(student, lab, Answers({"double": source}))


def test_renamed_and_reformatted_code_is_alike(mini: Lab):
    renamed = LONG.replace("total", "s").replace("number", "_").replace("rounds", "n").replace("no strings", "Nein")
    renamed = renamed.replace("    for", "    # my own idea\n    for").replace("s = s + x", "s = (s + x)")
    other = DOUBLE + "\n".join(f"value_{n} = [{n}, *map(str, range({n}))]" for n in range(9))
    answers = {"ann": LONG, "bob": renamed, "cyd": other, "dan": DOUBLE, "eve": DOUBLE, "fay": "def double(:"}
    found = similar(mini, [submission(mini, student, source) for student, source in answers.items()])
    assert [(p.exercise, p.first, p.second) for p in found] == [("double", "ann", "bob")], "short ones say nothing"
    assert found[0].likeness > 0.9
    assert not [line for line in found[0].common if "total" in line]
    copied = similar(mini, [submission(mini, "ann", LONG), submission(mini, "bob", LONG)])
    assert copied[0].likeness == 1
    assert "total = total + x" in copied[0].common


def test_released_code_does_not_count(mini: Lab):
    released = next(c.source for c in mini.cells if c.id == "check_double").partition("### BEGIN")[0]
    given = "\n".join(c.source for c in mini.cells if c.kind == "given" and c.is_code and not c.explore)
    padding = "\n".join([given] * 9 + [released])
    found = similar(mini, [submission(mini, s, padding + f"\n{s} = {n}") for n, s in enumerate(("ann", "bob"))])
    assert found == []


def test_the_command_says_that_it_is_no_proof(mini: Lab, tmp_path):
    for student in ("ann", "bob"):
        (tmp_path / student).mkdir()
        nbformat.write(answered(mini, {"double": LONG}), tmp_path / student / "00_mini.ipynb")
    arguments = ["--root", str(mini.root), "similar", "00_mini", "--submissions", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "ann, bob\n  counter: the same" in result.output and "  double: the same but for names" in result.output
    assert "no proof" in result.output
