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


def test_the_skeleton_is_a_lab_that_works_and_the_gates_say_what_is_left(tmp_path: Path, grader: Grader) -> None:
    (tmp_path / "solutions" / "shared").mkdir(parents=True)
    (tmp_path / "solutions" / "shared" / "how_to_work.md").write_text("How to work: as everywhere.\n")
    (source,) = new.new_lab(tmp_path, "07_pruning", 'Pruning: "less" is more', ["prune", "sparsity"])
    lab = Lab("07_pruning", tmp_path)
    assert "How to work: as everywhere." in lab.cells[0].source
    assert lab.source == source and lab.settings["title"] == 'Pruning: "less" is more'
    assert build(lab)
    missing = {(v.gate, v.subject): v.message for v in gates.run_gates(lab, grader) if not v.holds}
    assert {subject for gate, subject in missing if gate == "nothing slips"} == {
        *("07_pruning", "07_pruning.py", "prune.toml", "sparsity.toml")
    }
    for exercise in ("prune", "sparsity"):
        assert missing["hints are there", exercise] == "hints.toml lacks idea and steps"
        assert ("mutants are caught", f"{exercise} has mutants that were never graded") in missing
    assert {gate for gate, _ in missing} == {"nothing slips", "hints are there", "mutants are caught"}


def test_filled_in_it_passes(tmp_path: Path, grader: Grader) -> None:
    lab = Lab(new.new_lab(tmp_path, "07_pruning", "Pruning", ["prune"])[0].stem, tmp_path)
    for path in (lab.source, *lab.folder.glob("*/*.toml")):
        path.write_text(
            path.read_text(encoding="utf-8").replace("TODO: ", "").replace("TODO", "done"), encoding="utf-8"
        )
    lab.hints_path.write_text(lab.hints_path.read_text().replace('""', '"an idea"'))
    build(lab)
    broken = {v.subject for n in (8, 9, 14) for v in gates.GATES[n - 1](lab, grader) if not v.holds}
    assert not broken, "the other gates hold above, but for the mutants"


def test_the_skeleton_is_formatted(tmp_path: Path) -> None:
    new.new_lab(tmp_path, "07_pruning", "Pruning", ["prune", "sparsity"])
    config = ROOT / "pyproject.toml"
    for command in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", config, tmp_path / "solutions"]
        done = subprocess.run(ruff, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


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
    assert len(list((tmp_path / "solutions" / "07_pruning").rglob("prune.toml"))) == 2


def test_the_command_names_the_demos_files(course: Path) -> None:
    done = CliRunner().invoke(main, ["--root", str(course), "new", "07_pruning", "--demo", "pruned_weights"])
    assert done.exit_code == 0 and "course demo pruned_weights" in done.output
    assert "test_pruned_weights.py" in done.output
