"""Progress is what the saved notebooks say, told in words; a notebook that is broken hides no other."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from course_utils.checks.progress import PLACEHOLDER, VERDICT, overview, progress_of, read_all

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSED = {"output_type": "display_data", "data": {VERDICT: {"exercise": "double", "passed": True}}}
FAILED = {"output_type": "display_data", "data": {VERDICT: {"exercise": "double", "passed": False}}}
ERROR = {"output_type": "error", "ename": "CheckFailed", "evalue": "", "traceback": []}
PRINTED = {"output_type": "stream", "name": "stdout", "text": ["hello"]}


def cell(kind: str, source: str | list[str] = "", outputs: list | None = None, **role: object) -> dict:
    made = {"cell_type": kind, "source": source, "metadata": {"nbgrader": role} if role else {}}
    return made | ({"outputs": outputs or []} if kind == "code" else {})


def write(folder: Path, name: str, checks: list[list[list]], answers: list[str], **course: str) -> Path:
    """A lab with an exercise for every item of ``checks``, which has a check of 2 points for every list of outputs."""
    cells = [cell("markdown", "# A lab"), cell("code", "1 / 0", [ERROR])]
    for number, outputs_of_checks in enumerate(checks):
        cells.append(cell("code", grade_id=f"exercise{number}", solution=True, grade=False))
        for outputs in outputs_of_checks:
            cells.append(cell("code", "", outputs, grade_id="check", solution=False, grade=True, points=2))
    cells += [cell("markdown", text, grade_id="why", solution=True, grade=True, points=3) for text in answers]
    path = folder / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"metadata": {"course": course}, "cells": cells}), encoding="utf-8")
    return path


def test_an_exercise_is_passed_when_all_its_checks_are(tmp_path):
    path = write(tmp_path, "01_a", [[[PASSED]], [[PRINTED, PASSED], [FAILED]], [[PASSED], [PASSED]], [[]]], [])
    lab = progress_of(path)
    assert (lab.passed, lab.exercises, lab.points, lab.max_points) == (2, 4, 8, 12)
    assert not lab.done


@pytest.mark.parametrize("outputs", [[], [PRINTED], [FAILED], [PASSED, ERROR], [FAILED, PASSED], [ERROR]])
def test_only_a_verdict_without_an_error_counts(outputs, tmp_path):
    assert progress_of(write(tmp_path, "01_a", [[outputs]], [])).passed == 0


def test_the_verdict_must_be_true_itself(tmp_path):
    claimed = {"output_type": "display_data", "data": {VERDICT: {"passed": "no"}}}
    assert progress_of(write(tmp_path, "01_a", [[[claimed]]], [])).passed == 0


def test_a_written_answer_counts_when_it_is_another_text_than_the_placeholder(tmp_path):
    answers = [PLACEHOLDER, f"\n{PLACEHOLDER} \n", "", ["Because\n", "of x."], f"{PLACEHOLDER}: because."]
    lab = progress_of(write(tmp_path, "01_a", [], answers))
    assert (lab.answered, lab.questions) == (2, 5)


def test_labs_come_in_order_and_nothing_else_does(tmp_path):
    for name in ("02_b", "01_a", "10_c"):
        write(tmp_path, name, [[[PASSED]]], [])
    (tmp_path / "01_a" / "copy.ipynb").write_text("{}")
    (tmp_path / "start.ipynb").write_text("{}")
    assert [lab.link for lab in read_all(tmp_path)] == [f"{n}/{n}.ipynb" for n in ("01_a", "02_b", "10_c")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\0" * 9, "is empty"),
        ("{,", "it is not JSON (line 1"),
        ("{\n<<<<<<< HEAD\n=======\n>>>>>>> theirs\n}", "it is not JSON: git left a merge undone in it (line 2)"),
        ("[]", "it is JSON, but no object"),
        ('{"metadata": {}}', "it has no list of cells"),
        ('{"metadata": {}, "cells": ["x"]}', "none of its cells has a source"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_broken_notebook_is_named_and_the_others_are_shown(content, words, tmp_path):
    write(tmp_path, "01_a", [[[PASSED]], [[]]], [], title="First")
    broken = write(tmp_path, "02_b", [], [])
    broken.write_bytes(content if isinstance(content, bytes) else content.encode())
    write(tmp_path, "03_c", [[[PASSED]]], [], title="Third")
    assert words in progress_of(broken).problem
    told = overview(tmp_path, NOW)
    assert "| [1: First](01_a/01_a.ipynb) | 1 of 2 | 2 of 4 | 0 of 0 |" in told
    assert "[02\\_b](02_b/02_b.ipynb) | the notebook cannot be read, see below |" in told
    assert "[3: Third]" in told
    assert "- `02_b/02_b.ipynb` cannot be read: " in told


def test_what_a_program_left_out_costs_no_more_than_its_cell(tmp_path):
    path = write(tmp_path, "01_a", [[[PASSED]], [[PASSED]], [[PASSED]]], ["Because."], title=5, due="soon")
    raw = json.loads(path.read_text())
    checks = [c for c in raw["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == "check"]
    checks[0]["outputs"] = [None, {"output_type": "display_data", "data": None}, PASSED]
    checks[1]["outputs"] = None
    checks[2]["metadata"]["nbgrader"]["points"] = None
    raw["cells"][0]["metadata"] = None
    del raw["cells"][1]["metadata"], raw["cells"][1]["outputs"]
    raw["cells"].append(None)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(raw).encode())
    lab = progress_of(path)
    assert (lab.passed, lab.exercises, lab.points, lab.max_points) == (2, 3, 2, 4)
    assert (lab.title, lab.due, lab.problem, lab.answered) == ("01_a", None, "", 1)


def test_a_notebook_that_cannot_be_opened_is_named_too(tmp_path):
    (tmp_path / "01_a" / "01_a.ipynb").mkdir(parents=True)
    assert "01_a.ipynb cannot be read: Is a directory" in progress_of(tmp_path / "01_a" / "01_a.ipynb").problem


def test_it_says_where_to_go_on(tmp_path):
    write(tmp_path, "01_a", [[[]]], [], title="A|B")
    write(tmp_path, "02_b", [[[]]], [])
    assert overview(tmp_path, NOW).startswith("**Begin with [1: A\\|B](01_a/01_a.ipynb).**")
    write(tmp_path, "00_z", [[[PASSED]]], [])
    assert overview(tmp_path, NOW).startswith("**Go on with [1: A\\|B](01_a/01_a.ipynb).**")


def test_when_all_is_done_there_is_nowhere_to_go(tmp_path):
    write(tmp_path, "01_a", [[[PASSED]]], ["Because."])
    assert overview(tmp_path, NOW).startswith("| Lab |")


def test_an_empty_folder_says_so(tmp_path):
    assert overview(tmp_path).startswith("There is no lab in the folder")


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (2 * 24 * 60, "2 days left"),
        (2 * 24 * 60 - 1, "47 hours left"),
        (120, "2 hours left"),
        (119, "119 minutes left"),
        (0, "0 minutes ago"),
        (-90, "90 minutes ago"),
        (-3 * 24 * 60, "3 days ago"),
    ],
)
def test_time_left_is_told_in_words(minutes, words, tmp_path):
    write(tmp_path, "01_a", [[[]]], [], due=(NOW + timedelta(minutes=minutes)).isoformat())
    write(tmp_path, "02_b", [[[]]], [])
    first, second = overview(tmp_path, NOW).splitlines()[-2:]
    assert first.endswith(f", {words} |")
    assert second.endswith("| no date |")


def test_without_any_date_there_is_no_column_for_it(tmp_path):
    write(tmp_path, "01_a", [[[]]], [])
    assert "Due" not in overview(tmp_path, NOW)


def test_a_date_without_zone_is_utc(tmp_path):
    path = write(tmp_path, "01_a", [[[]]], [], due="2026-11-30T22:59:00")
    assert progress_of(path).due == datetime(2026, 11, 30, 22, 59, tzinfo=UTC)


def test_no_torch_is_needed():
    code = "import sys, course_utils.checks.progress; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
