"""`course doctor`: what is wrong is found, told, and decides the exit code."""

from __future__ import annotations

import importlib.metadata
import os
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from autograder import ROOT, doctor
from autograder.cli import main
from autograder.errors import CourseError
from autograder.sandbox.walls import WALLS


@pytest.fixture
def walls(monkeypatch) -> list[str]:
    """What the sandbox's candidate says, without starting one."""
    standing = list(WALLS)

    class Grader:
        def __enter__(self):
            return SimpleNamespace(walls=lambda: standing)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("autograder.grading.grader.Grader", Grader)
    return standing


def run(output: Path):
    return CliRunner().invoke(main, ["doctor", "--output", str(output)], env={"COLUMNS": "200"})


def test_what_stands_here_is_all_right(tmp_path, grader):
    """This environment is the pinned one; the sandbox is asked in earnest."""
    findings = {f.subject: f for f in doctor.examine(ROOT, tmp_path)}
    for subject in ("Python", "packages", "Jupyter kernel", "widgets", "gradebook", "data: shapes"):
        assert findings[subject].verdict == "ok", findings[subject]
    all_stand = set(grader.walls()) >= set(WALLS)
    assert findings["sandbox"].verdict == ("ok" if all_stand else "note")
    for finding in findings.values():
        assert finding.verdict in ("ok", "note", "problem")
        assert finding.found
        assert bool(finding.mend) == (finding.verdict != "ok"), finding


def test_exit_code_and_table(tmp_path, walls, monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY_GIB", 0.0)
    monkeypatch.setattr(doctor, "DISK_GIB", 0.0)
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "everything that is needed is here" in result.output
    monkeypatch.setattr(doctor, "DISK_GIB", 1e9)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "problems to mend: 1" in result.output
    assert "problem" in result.output.replace("problems", ""), "in words, not by colour"


def test_other_versions_and_missing_packages(tmp_path, monkeypatch):
    installed = importlib.metadata.version("click")
    wanted: list[str] = []
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    lock = tmp_path / "constraints.txt"
    wanted[:] = ["click>=0.1", 'nothing-of-the-kind>=1; extra == "dev"']
    assert doctor.packages(tmp_path).verdict == "ok"
    lock.write_text(f"click=={installed}")
    assert doctor.packages(tmp_path).found == "1, as pinned in constraints.txt"
    lock.write_text("Click==0.1")
    told = doctor.packages(tmp_path)
    assert (told.verdict, told.mend != "") == ("note", True)
    assert f"click {installed} (tested: 0.1)" in told.found
    wanted[:] = ["click>=1000"]
    told = doctor.packages(tmp_path)
    assert (told.verdict, told.found) == ("problem", f"other versions: click {installed} (needed: >=1000)")
    wanted[:] = ['no-such-package-here>=1.0; extra == "grading"']
    told = doctor.packages(tmp_path)
    assert told.verdict == "problem"
    assert "no-such-package-here" in told.found
    assert "pip install" in told.mend


def test_a_students_installation_hears_nothing_of_grading(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "grades_here", lambda: False)
    (tmp_path / "handout.json").write_text("{}")
    assert not {"gradebook", "sandbox"} & {f.subject for f in doctor.examine(tmp_path)}
    assert "nbgrader" not in {r.name for r in doctor.requirements()}
    assert "requirements.txt" in doctor.reinstall(tmp_path), "in an environment of their own"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert "start.py" in doctor.reinstall(tmp_path)
    for limit in ("MEMORY_GIB", "DISK_GIB"):
        monkeypatch.setattr(doctor, limit, 1e9)
    mend = [finding.mend for finding in doctor.examine(tmp_path)]
    assert not [text for text in mend if "grade" in text or "make setup" in text]


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED_PYTHON", (99, 1))
    assert doctor.python().verdict == "problem"


def test_little_memory(monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY_GIB", 1e6)
    assert doctor.memory(ROOT).verdict == "problem"


def test_a_kernel_of_another_python(tmp_path, monkeypatch):
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", lambda *_: spec)
    spec = SimpleNamespace(argv=[str(tmp_path / "python")])
    told = doctor.kernel(ROOT)
    assert told.verdict == "problem"
    assert str(tmp_path) in told.found
    assert "ipykernel install" in told.mend
    spec = SimpleNamespace(argv=[sys.executable])
    assert doctor.kernel(ROOT).verdict == "ok"


def test_no_kernel(monkeypatch, tmp_path):
    from jupyter_client.kernelspec import NoSuchKernel

    def nothing(*_):
        raise NoSuchKernel("python3")

    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", nothing)
    assert "no kernel named python3" in doctor.kernel(ROOT).found


def test_widgets_without_their_extension(monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    assert doctor.widgets(ROOT).verdict == "problem"


def test_a_gradebook_that_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "gradebook.db"
    assert doctor.gradebook(tmp_path / "not" / "yet").verdict == "ok"
    path.write_text("not a database, but long enough to be read as one " * 40)
    assert doctor.gradebook(tmp_path).verdict == "problem"
    path.unlink()
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("CREATE TABLE grade (id)")
        assert doctor.gradebook(tmp_path).verdict == "ok"
        holder.execute("BEGIN IMMEDIATE")
        told = doctor.gradebook(tmp_path)
        assert told.verdict == "problem"
        assert "locked" in told.found
    holder.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written" in doctor.gradebook(tmp_path).found


def test_missing_walls_are_named(walls):
    walls.remove("network")
    told = doctor.sandbox()
    assert told.verdict == "note"
    assert "NOT in force: network" in told.found
    assert told.mend


def test_a_grader_that_does_not_start(monkeypatch):
    def fails():
        raise CourseError("a candidate process does not start")

    monkeypatch.setattr("autograder.grading.grader.Grader", fails)
    assert doctor.sandbox().verdict == "problem"


def test_a_system_without_fork(monkeypatch):
    """As on Windows, where the module `resource` is missing."""
    for name in ("autograder.sandbox.walls", "autograder.grading.grader"):
        monkeypatch.setitem(sys.modules, name, None)
    told = doctor.sandbox()
    assert told.verdict == "note"
    assert "does not run on" in told.found


def test_data_that_is_not_here_is_no_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert {f.verdict for f in doctor.data_sets(ROOT)} <= {"ok", "note"}
