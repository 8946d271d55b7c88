"""Nobody foresees or chooses what hidden checks draw; whoever grades again gets the same."""

from __future__ import annotations

import zlib
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import write_mini

from autograder.cli import main
from autograder.errors import CourseError
from autograder.grading.grader import make_job
from autograder.grading.seeds import SECRET, secret_beside, seed
from autograder.grading.submission import Answers
from autograder.labs.build import answered
from autograder.labs.lab import Lab
from autograder.records.rows import read_records


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path):
    first = secret_beside(tmp_path / "grades")
    path = tmp_path / "grades" / SECRET
    assert path.stat().st_mode & 0o077 == 0
    assert secret_beside(tmp_path / "grades") == first
    assert secret_beside(tmp_path / "elsewhere") != first
    assert [p.name for p in path.parent.iterdir()] == [SECRET]
    path.write_text("mended by hand")
    with pytest.raises(CourseError, match="is no secret"):
        secret_beside(tmp_path / "grades")


def test_seeds_follow_from_the_secret_and_the_answer():
    assert seed(b"a", "lab", "answer") == seed(b"a", "lab", "answer")
    others = [("lab", "answer"), ("lab", "other"), ("laba", "nswer")]
    assert len({seed(secret, *told) for secret in (b"a", b"b") for told in others}) == 6
    assert 0 <= seed(b"a", "\udc80") < 2**63


SPY = "def double(x):\n    if hasattr(x, 'shape'):\n        raise RuntimeError(str(x.tolist()))\n    return 2 * x"
"""Tells what it is given."""


def test_an_answer_cannot_be_made_to_fit_its_seed(mini: Lab):
    """A few letters in a comment set any checksum that everybody can compute; a table knows the rest."""
    answers = Answers({c.id: c.source for c in mini.answers})
    here, there, again = (make_job(mini, answers, secret=secret).seeds for secret in (b"a", b"b", b"a"))
    assert here == again
    assert not set(here.values()) & set(there.values())
    known = {
        zlib.crc32("\0".join(told).encode()) for e, a in answers.sources.items() for told in [("00_mini", e, a, "0")]
    }
    assert not known & {number & 0xFFFFFFFF for number in (*here.values(), *there.values())}


def test_a_class_is_graded_with_the_secret_beside_its_gradebook(tmp_path: Path):
    lab = write_mini(tmp_path)
    notebook = answered(lab)
    next(c for c in notebook.cells if "def double" in c.source).source = SPY
    (tmp_path / "inbox" / "ann").mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "inbox" / "ann" / "00_mini.ipynb")

    def message(output: str, *, secret: str = "") -> str:
        folder = tmp_path / output
        if secret:
            folder.mkdir()
            (folder / SECRET).write_text(secret)
        command = ["--root", tmp_path, "grade", "00_mini", "--submissions", tmp_path / "inbox", "--output", folder]
        result = CliRunner().invoke(main, [str(word) for word in [*command, "--workers", 1]])
        assert result.exit_code == 0, result.output
        rows = read_records(folder).rows
        return rows[rows["question"] == "check_double"]["message"].item()

    first = message("grades")
    assert message("again", secret=(tmp_path / "grades" / SECRET).read_text()) == first
    assert message("other") != first
