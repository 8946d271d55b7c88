"""`course check`: the verdict of the visible checks without a browser, with a truthful exit code."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import DOUBLE, write_mini

from autograder.cli import main
from autograder.grading import check_notebook
from autograder.labs.build import build, release, release_path
from autograder.labs.lab import Lab

COUNTER = "class Counter:\n    def __init__(self, start):\n        self.value = start\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    root = tmp_path_factory.mktemp("check")
    lab = write_mini(root)
    lab.hints_path.write_text('[double]\nidea = "Twice is once and once more."\nsteps = "Add."\n', encoding="utf-8")
    build(lab)
    return lab


def run(lab: Lab, *arguments: str, drop: str = "", **answers: str):
    """`course check` on the lab with some exercises answered. The copy lies beside the hints, as a student's does."""
    notebook = nbformat.from_dict(release(lab))
    notebook.cells = [c for c in notebook.cells if c["id"] != drop]
    for cell in notebook.cells:
        if cell["id"] in answers:
            cell.source = answers[cell["id"]]
    path = release_path(lab)
    nbformat.write(notebook, path)
    return CliRunner().invoke(main, ["--root", str(lab.root), "check", str(path), *arguments])


def test_all_right_exits_with_0(lab):
    gradient = COUNTER + "    def square(self, x):\n        return x * x\n"
    result = run(lab, double=DOUBLE, counter=gradient)
    assert "✓ double: 1 rule holds" in result.output
    assert "3 of 3 checks pass; 4 of 4 points" in result.output
    assert result.exit_code == 0


def test_what_fails_is_told_with_as_many_hints_as_wanted(lab):
    result = run(lab, double="def double(x):\n    return 7", counter=COUNTER)
    assert "rule broken: the double of 3 is 6" in result.output
    assert "Twice is once" not in result.output
    assert "AttributeError" in result.output, "the gradient's check has no method square to call"
    assert "1 of 3 checks pass; 1 of 4 points" in result.output
    assert result.exit_code == 1
    assert "Twice is once and once more." in run(lab, "--hints", "3", double="def double(x):\n    return 7").output


RIGHT = COUNTER + "    def square(self, x):\n        return x * x\n"


def test_an_answer_that_ends_the_kernel_is_named_and_costs_its_exercise_only(lab):
    result = run(lab, double="import os\nos._exit(1)", counter=RIGHT)
    assert result.output.count("double ended the kernel") == 1
    assert "2 of 3 checks pass; 2 of 4 points" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("answer", "culprit"),
    [
        ("def double(x):\n    while True: print(x)", "check_double"),  # an interrupt gets it out of there
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "double"),  # and here not
    ],
)
def test_an_endless_loop_costs_its_exercise_only(lab, answer, culprit, monkeypatch, capfd):
    monkeypatch.setattr(check_notebook, "CELL_SECONDS", 12)  # the cell that imports torch has to come to an end
    monkeypatch.setattr(check_notebook, "INTERRUPT_SECONDS", 3)
    result = run(lab, double=answer, counter=RIGHT)
    assert f"{culprit} did not end within 12 s: is there an endless loop?" in result.output
    assert "2 of 3 checks pass; 2 of 4 points" in result.output
    assert result.exit_code == 1
    assert "Traceback" not in result.output + capfd.readouterr().err


def test_a_cell_of_one_s_own_that_hangs_is_left_out_and_told(lab, monkeypatch):
    monkeypatch.setattr(check_notebook, "CELL_SECONDS", 12)
    notebook = nbformat.from_dict(release(lab))
    for cell in notebook.cells:
        cell.source = {"double": DOUBLE, "counter": RIGHT}.get(cell["id"], cell.source)
    at = next(n for n, cell in enumerate(notebook.cells) if cell["id"] == "double")
    notebook.cells.insert(at, nbformat.v4.new_code_cell("import time\ntime.sleep(600)"))
    nbformat.write(notebook, release_path(lab))
    result = CliRunner().invoke(main, ["--root", str(lab.root), "check", str(release_path(lab))])
    assert "code cell 2 did not end within 12 s" in result.output
    assert "3 of 3 checks pass" in result.output


def test_a_notebook_is_checked_whoever_saved_it(lab):
    run(lab, double=DOUBLE, counter=RIGHT)
    raw = json.loads(release_path(lab).read_text())
    for number, cell in enumerate(raw["cells"]):
        if not cell["metadata"].get("nbgrader", {}).get("grade_id", "given").startswith("given"):
            cell["metadata"]["tags"] = None
            continue
        cell["metadata"] = [None, [], 5][number % 3]
        cell.pop("outputs", None)
    raw["cells"] += [None, {"cell_type": "markdown", "source": None}]
    raw |= {"nbformat": "4", "metadata": None}
    path = release_path(lab)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(raw).encode())
    result = CliRunner().invoke(main, ["--root", str(lab.root), "check", str(path)])
    assert "3 of 3 checks pass" in result.output, result.output
    assert result.exit_code == 0


def test_a_deleted_check_is_missed_against_the_release(lab, tmp_path):
    full = run(lab, double=DOUBLE, counter=COUNTER + "    def square(self, x):\n        return x * x\n")
    assert full.exit_code == 0
    copy = tmp_path / release_path(lab).name
    notebook = nbformat.read(release_path(lab), as_version=4)
    notebook.cells = [c for c in notebook.cells if c["id"] != "check_double"]
    nbformat.write(notebook, copy)
    result = CliRunner().invoke(main, ["--root", str(lab.root), "check", str(copy)])
    assert "check_double is missing" in result.output
    assert "2 of 3 checks pass" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.ipynb", None, "no.ipynb cannot be read: No such file"),
        ("broken.ipynb", "{", "broken.ipynb is not a notebook: it is not JSON"),
        ("empty.ipynb", '{"nbformat": 4, "cells": []}', "empty.ipynb has no check cell"),
    ],
)
def test_what_is_no_lab_is_refused_in_one_line(name: str, content: str | None, told: str, tmp_path: Path):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(main, ["check", str(path)])
    assert told in result.output and result.output.count("\n") == 1
    assert result.exit_code == 2
