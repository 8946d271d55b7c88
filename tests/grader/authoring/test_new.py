"""`course new`: a skeleton that builds, and of which the gates miss exactly what is not written yet; and a demo that
moves, with a test that passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder import ROOT
from autograder.authoring import gates, new
from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import Grader
from autograder.labs.build import build
from autograder.labs.lab import Lab

ANSWER = 'raise RuntimeError("TODO: write the reference answer of prune")'


def test_skeleton_builds_and_the_gates_say_what_is_to_be_written(tmp_path: Path, grader: Grader) -> None:
    (tmp_path / "solutions" / "shared").mkdir(parents=True)
    (tmp_path / "solutions" / "shared" / "how_to_work.md").write_text("How to work: as everywhere.\n")
    (source,) = new.new_lab(tmp_path, "07_pruning", 'Pruning: "less" is more', ["prune"])
    assert "How to work: as everywhere." in Lab("07_pruning", tmp_path).cells[0].source
    lab = Lab("07_pruning", tmp_path)
    assert lab.source == source and lab.settings["title"] == 'Pruning: "less" is more'
    assert build(lab)
    first, others = (v for v in gates.run_gates(lab, grader) if not v.holds)
    assert first.subject == "reference answers" and "TODO: write the reference answer of prune" in first.message
    assert others.gate == "the other gates", "which say nothing without reference answers"

    _fill(lab.source, ANSWER, "return x.clone().float()")
    lab = Lab("07_pruning", tmp_path)
    build(lab)
    verdicts = list(gates.run_gates(lab, grader))
    missing = {(v.gate, v.subject) for v in verdicts if not v.holds}
    assert missing == {
        ("hints are there", "prune"),
        ("mutants are caught", "07_pruning"),
        ("mutants are caught", "prune has mutants that were never graded"),
        *(("wrong variant loses", f"prune__mistake-{n}") for n in range(1, gates.MIN_WRONG + 1)),
        *(("right variant scores", f"prune__way-{n}") for n in range(1, gates.MIN_RIGHT + 1)),
    }
    told = ("hints are there", "mutants are caught")
    unclear = [v for v in verdicts if not v.holds and v.gate not in told and "TODO: " not in v.message]
    assert not unclear, "each of them must name what is to be written"
    assert all("lacks idea and steps" in v.message for v in verdicts if v.gate == "hints are there" and not v.holds)
    assert {v.gate for v in verdicts if v.holds} >= {
        *("release scores nothing", "nothing leaks", "order does not matter", "release is current")
    }


def test_skeleton_filled_in_passes(tmp_path: Path, grader: Grader) -> None:
    lab = Lab(new.new_lab(tmp_path, "07_pruning", "Pruning", ["prune"])[0].stem, tmp_path)
    _fill(lab.source, ANSWER, "return x.clone().float()")
    for path in (lab.folder / "right").iterdir():
        _fill(path, 'raise RuntimeError("TODO: write another right answer to prune")', "return x + 0")
    for path in (lab.folder / "wrong").iterdir():
        _fill(path, 'raise RuntimeError("TODO: write an answer to prune with that mistake")', "return x + 1")
        _fill(path, "TODO: the words of the rule that this mistake breaks", "TODO: a rule in the student's words")
    _fill(lab.hints_path, '""', '"an idea"')
    build(lab)
    slow = (gates.order_does_not_matter, gates.mutants_are_caught)  # the first holds above, the second has its tests
    others = [gate for gate in gates.GATES if gate not in slow]
    broken = [(v.gate, v.subject, v.message) for gate in others for v in gate(lab, grader) if not v.holds]
    assert not broken


def _fill(path: Path, old: str, with_: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, with_), encoding="utf-8")


@pytest.mark.parametrize("name", ["pruning", "7_pruning", "07-pruning", "07_Pruning", "07_", "../07_x", "07_a/b", ""])
def test_a_name_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="07_pruning"):
        new.new_lab(tmp_path, name, "Pruning", ["prune"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exercises", [["two words"], ["class"], ["a__b"], [""], ["prune", "prune"]])
def test_an_exercise_that_is_no_function_is_refused(exercises: list[str], tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="exercise"):
        new.new_lab(tmp_path, "07_pruning", "Pruning", exercises)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "solutions" / "07_pruning").mkdir(parents=True)
    mine = tmp_path / "solutions" / "07_pruning" / "07_pruning.py"
    mine.write_text("mine")
    done = CliRunner().invoke(main, ["--root", str(tmp_path), "new", "07_pruning"])
    assert done.exit_code == 2 and "is there already" in done.output
    assert mine.read_text() == "mine" and list(mine.parent.iterdir()) == [mine]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course with this one's helpers and page of demos."""
    shutil.copytree(ROOT / "course_utils", tmp_path / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "solutions").mkdir()
    shutil.copy(ROOT / "solutions" / "demos.py", tmp_path / "solutions")
    return tmp_path


def test_a_demo_comes_with_its_test_and_moves_at_once(course: Path) -> None:
    lab, code, test = new.new_lab(course, "07_pruning", "Pruning", ["prune", "sparsity"], "pruned_weights")
    assert "display(pruned_weights_demo(prune))" in lab.read_text()
    assert build(Lab("07_pruning", course))

    def run(*command: object) -> str:
        environment = os.environ | {"PYTHONPATH": str(course)}
        done = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=course, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "4 passed" in run("pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test)
    assert "✓ reach" in run("autograder.cli", "--root", course, "demo", "pruned_weights")
    run("autograder.cli", "--root", course, "demo", "staircase")
    files = code, test, code.with_name("__init__.py"), course / "solutions" / "demos.py"
    run("ruff", "check", "--config", ROOT / "pyproject.toml", *files)
    run("ruff", "format", "--check", "--config", ROOT / "pyproject.toml", *files)


@pytest.mark.parametrize("demo", ["two words", "Pruned", "class", "", "staircase"])
def test_a_demo_that_does_not_fit_or_is_there_is_refused(demo: str, course: Path) -> None:
    before = sorted(course.rglob("*"))
    with pytest.raises(CourseError, match="demo"):
        new.new_lab(course, "07_pruning", "Pruning", ["prune"], demo)
    assert sorted(course.rglob("*")) == before


def test_without_a_place_for_demos_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="nothing was written"):
        new.new_lab(tmp_path, "07_pruning", "Pruning", ["prune"], "pruned_weights")
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--root", str(tmp_path), "new", "07_pruning", "--exercise", "prune"])
    assert done.exit_code == 0 and "course gates 07_pruning --failed" in done.output
    assert len(list((tmp_path / "solutions" / "07_pruning").rglob("prune__*.py"))) == 7


def test_the_command_names_the_demos_files(course: Path) -> None:
    done = CliRunner().invoke(main, ["--root", str(course), "new", "07_pruning", "--demo", "pruned_weights"])
    assert done.exit_code == 0 and "course demo pruned_weights" in done.output
    assert "test_pruned_weights.py" in done.output
