"""The start page and the demos are built and run; `course lab` hands on its arguments; labs may have due dates."""

from __future__ import annotations

import ast
import shutil
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini
from nbclient import NotebookClient

from autograder import ROOT
from autograder.cli import main
from autograder.errors import CourseError
from autograder.labs.build import answered, build, release_path
from autograder.labs.lab import Lab
from autograder.labs.pages import Page, write_start_page
from course_utils.checks.progress import PLACEHOLDER, progress_of


@pytest.fixture
def course(tmp_path: Path) -> Lab:
    """A course with a lab and this repository's pages."""
    lab = write_mini(tmp_path)
    for name in ("start", "demos"):
        shutil.copy(ROOT / "solutions" / f"{name}.py", tmp_path / "solutions")
    build(lab)
    return lab


def course_command(lab: Lab, *words: str):
    return CliRunner().invoke(main, ["--root", str(lab.root), *words])


def test_the_committed_demos_are_a_fresh_build():
    assert Page("demos").path.read_bytes() == nbformat.writes(Page("demos").notebook).encode() + b"\n"


def test_every_demo_is_among_them():
    defined = [
        node.name
        for path in (ROOT / "course_utils" / "demos").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.endswith("demo")
    ]
    source = Page("demos").source.read_text(encoding="utf-8")
    assert len(defined) > 5
    assert not [name for name in defined if f"\n{name}(" not in source]


def test_demos_are_built_and_drift_is_told(course):
    assert "demos: differs from a fresh build" in course_command(course, "build", "--check", "demos").output
    assert "demos: written" in course_command(course, "build").output
    assert course_command(course, "build", "--check").exit_code == 0
    path = course.root / "notebooks" / "demos.ipynb"
    assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
    path.write_bytes(path.read_bytes() + b" ")
    result = course_command(course, "build", "--check")
    assert result.exit_code == 1
    assert "00_mini: current" in result.output and "demos: differs" in result.output


def test_a_course_without_demos_builds(tmp_path):
    lab = write_mini(tmp_path)
    result = course_command(lab, "build")
    assert result.exit_code == 0 and "demos" not in result.output


def test_progress_reads_what_a_run_of_the_lab_left(course):
    """No forged outputs: the released lab, half answered, runs in a kernel, and is saved."""
    path = release_path(course)
    assert (progress_of(path).exercises, progress_of(path).passed, progress_of(path).max_points) == (2, 0, 4)
    released = nbformat.read(path, as_version=4)
    notebook = answered(course, {"counter": "Counter = None", "why": "So."})
    assert PLACEHOLDER in {cell.source for cell in released.cells}
    NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    nbformat.write(notebook, path)
    lab = progress_of(path)
    assert (lab.passed, lab.points, lab.answered, lab.questions, lab.problem) == (1, 2, 1, 1, "")


def test_the_start_page_is_run_where_it_lies(course):
    path = write_start_page(course.root)
    assert path == course.root / "notebooks" / "start.ipynb"
    (output,) = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    assert "| [0: Mini](00_mini/00_mini.ipynb) | 0 of 2 | 0 of 4 | 0 of 1 |" in output.data["text/markdown"]


def test_a_start_page_that_fails_keeps_nobody_from_the_labs(course, monkeypatch):
    (course.root / "solutions" / "start.py").write_text("# %%\nraise OSError('no disk')\n")
    with pytest.raises(CourseError, match="no disk"):
        write_start_page(course.root)
    started = []
    monkeypatch.setattr("jupyterlab.labapp.LabApp.launch_instance", started.append)
    result = course_command(course, "lab")
    assert result.exit_code == 0 and "no start page" in result.output and "course doctor" in result.output
    assert "--LabApp.default_url=/lab/tree/notebooks" in started[0]


def test_arguments_go_on_to_jupyterlab(course, monkeypatch):
    started = []
    monkeypatch.setattr("jupyterlab.labapp.LabApp.launch_instance", started.append)
    result = course_command(course, "lab", "--no-browser", "--port", "9000", "--ServerApp.ip=0.0.0.0")
    assert result.exit_code == 0, result.output
    ours, theirs = started[0][:3], started[0][3:]
    assert "--LabApp.default_url=/lab/tree/notebooks/start.ipynb" in ours
    assert f"--ServerApp.root_dir={course.root}" in ours
    assert theirs == ["--no-browser", "--port", "9000", "--ServerApp.ip=0.0.0.0"]


@pytest.mark.parametrize(
    ("due", "utc"),
    [
        ("2026-11-30 23:59 Europe/Vienna", "2026-11-30T22:59:00+00:00"),
        ("2026-11-30 23:59", "2026-11-30T23:59:00+00:00"),
        ("2026-11-30 23:59:00+02:00", "2026-11-30T21:59:00+00:00"),  # and of this a time
    ],
)
def test_a_due_date_goes_into_the_release_in_utc(due, utc, tmp_path):
    lab = write_mini(tmp_path, MINI.replace("title: Mini", f"title: Mini\n#     due: {due}"))
    build(lab)
    assert nbformat.read(release_path(lab), as_version=4).metadata["course"]["due"] == utc
    moment = datetime.fromisoformat(utc)
    assert progress_of(release_path(lab)).due == moment
    assert lab.due == moment.astimezone(UTC).replace(tzinfo=None), "nbgrader's way: UTC, and no zone"


def test_a_day_alone_is_no_due_date(tmp_path):
    """YAML makes a date of it; it may be the day's beginning or its end."""
    lab = write_mini(tmp_path, MINI.replace("title: Mini", "title: Mini\n#     due: 2026-11-30"))
    with pytest.raises(CourseError, match="'2026-11-30' may be the day's beginning or its end"):
        build(lab)


def test_a_due_date_that_is_none_is_told(tmp_path):
    lab = write_mini(tmp_path, MINI.replace("title: Mini", "title: Mini\n#     due: next week"))
    with pytest.raises(CourseError, match=r"00_mini.py, due: 'next week' is no time"):
        build(lab)


def test_a_lab_without_due_date_has_none(course):
    assert course.due is None and progress_of(release_path(course)).due is None
