"""Students' folders that lead a program astray cost their student a row, and nobody else anything."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from mini_course import write_mini

from autograder.cli import main
from autograder.labs.build import answered
from autograder.sandbox.folders import files_below


def nested(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than a path may be long."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)


def removed(folder: Path, depth: int) -> None:
    """pytest cannot tidy up what it cannot walk through."""
    for _ in range(depth):
        (folder / "d" / "d").rename(folder / "e") if (folder / "d" / "d").exists() else None
        (folder / "d").rmdir()
        (folder / "e").rename(folder / "d") if (folder / "e").exists() else None


@pytest.fixture
def deep(tmp_path: Path):
    (tmp_path / "inbox" / "deep").mkdir(parents=True)
    nested(tmp_path / "inbox" / "deep", 1500)
    yield tmp_path / "inbox"
    removed(tmp_path / "inbox" / "deep", 1500)


def test_a_class_with_odd_folders_is_graded(deep: Path, tmp_path: Path):
    lab = write_mini(tmp_path / "course")
    notebook = nbformat.writes(answered(lab))
    (deep / "ann").mkdir()
    (deep / "ann" / "00_mini.ipynb").write_text(notebook)
    (deep / "many").mkdir()
    for number in range(12):
        (deep / "many" / f"x{number}.ipynb").write_text(notebook)
    (deep / "odd").mkdir()
    Path(os.fsdecode(os.fsencode(deep / "odd") + b"/\xff\x1b[2J.txt")).write_text("no notebook")
    Path(os.fsdecode(os.fsencode(deep / "odd") + b"/\xff\x1b[2J.ipynb")).write_text("{}")
    arguments = ["--submissions", str(deep), "--output", str(tmp_path / "grades")]
    done = CliRunner().invoke(main, ["--root", str(lab.root), "grade", "00_mini", *arguments])
    assert done.exit_code == 0, done.output
    with (tmp_path / "grades" / "00_mini.csv").open(newline="") as file:
        told = {row["student"]: (row["status"], row["message"]) for row in csv.DictReader(file)}
    assert told["ann"][0] == "by hand"
    assert told["deep"] == ("unreadable", "the folder holds folders in folders, more than 30 deep")
    assert told["many"][1].endswith("x0.ipynb, x1.ipynb, x10.ipynb, x11.ipynb, x2.ipynb and 7 more)")
    assert told["odd"][0] == "unreadable"
    done = CliRunner().invoke(
        main, ["--root", str(lab.root), "collect", "00_mini", str(deep), "--to", str(tmp_path / "to")]
    )
    assert "deep/d/d/d" in done.output and "more than 30 deep" in done.output
    assert list((tmp_path / "to").rglob("ann/00_mini.ipynb")) or list((tmp_path / "to").rglob("00_mini/ann/*.ipynb"))


def test_links_are_named_and_not_followed(tmp_path: Path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "file").touch()
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    found = [path.relative_to(tmp_path / "in").as_posix() for path in files_below(tmp_path / "in")]
    assert found == ["round", "sub/file"]
