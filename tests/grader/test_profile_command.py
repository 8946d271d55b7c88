"""``course profile``: what it prints, where it writes, and its one line for each mistake."""

from __future__ import annotations

import csv
import functools
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder.cli import main
from course_utils.data import classification_data
from course_utils.profiler import subjects

CONFIGURATION = """\
network = "classyclassifier"
images = 10
calibration = { samples = 10 }
layers = [{ kind = "linear", num_bits = BITS }]
"""


DATA = functools.cache(classification_data)  # the generated shapes: seconds for each run


@pytest.fixture
def course(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setattr(subjects, "classification_data", DATA)
    for name, bits in (("a", "8"), ("b", "2")):
        (tmp_path / f"{name}.toml").write_text(CONFIGURATION.replace("BITS", bits))

    def call(*words: object):
        return CliRunner().invoke(main, ["--root", str(tmp_path), "profile", *map(str, words)])

    return call


def test_runs_are_written_and_compared(course, tmp_path):
    folders = tmp_path / "build" / "profiles" / "a", tmp_path / "there"
    for words in ([tmp_path / "a.toml"], [tmp_path / "b.toml", "--output", folders[1]]):
        done = course(*words)
        assert done.exit_code == 0, done.output
        assert f"{words[0].name}: top-1 " in done.output
    assert all((folder / "index.html").is_file() for folder in folders)
    table = course("--compare", *folders)
    assert table.exit_code == 0, table.output
    assert "layer8_fc" in table.output


def test_several_configurations_share_their_network_and_images(course, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(subjects, "classification_data", lambda **which: read.append(which) or DATA(**which))
    done = course(tmp_path / "a.toml", tmp_path / "b.toml")
    assert done.exit_code == 0, done.output
    assert len(read) == 2  # test and training images, once each


def test_every_image_is_told_and_stands_in_a_table(course, tmp_path):
    done = course(tmp_path / "b.toml", "--images")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("image ")]
    assert len(lines) == 10
    assert re.fullmatch(
        r"image 0: label (\w+); reference \w+ [\d.]+%( !!?)?; recreated .*; fully quantized .*", lines[0]
    )
    folder = tmp_path / "build" / "profiles" / "b"
    with (folder / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[::3]] == [str(n) for n in range(10)]
    summary = json.loads((folder / "summary.json").read_text())
    assert len(rows) == 30
    for name, accuracy in summary["accuracy"].items():
        own = [row for row in rows if row["network"] == name]
        assert sum(row["guess"] == row["label"] for row in own) == sum(int(row["top1"]) for row in own)
        assert sum(int(row["top1"]) for row in own) / 10 == accuracy["top1"]
        assert sum(int(row["top5"]) for row in own) / 10 == accuracy["top5"]
    assert course(tmp_path / "b.toml").exit_code == 0
    assert not (folder / "images.csv").exists()  # it would be of another run


def test_a_search_writes_a_configuration_that_runs_again(course, tmp_path):
    search = "search = { samples = 20 }\n"
    (tmp_path / "s.toml").write_text(CONFIGURATION.replace("BITS", "8").replace("layers", search + "layers"))
    done = course(tmp_path / "s.toml", "--budget", 440_000)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "build" / "profiles" / "s-search"
    assert " bytes for a budget of 440,000 bytes, chosen on 20 training images; on 10 test images top-1 " in done.output
    assert (folder / "frontier.svg").is_file()
    assert (folder / "search.toml").read_text() == (tmp_path / "s.toml").read_text()
    again = tmp_path / "again"
    assert course(folder / "configuration.toml", "--output", again).exit_code == 0
    for name in ("configuration.toml", "summary.json", "layers.csv", "graph.svg"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["bytes"]["recreated"] <= 440_000
    done = course(tmp_path / "s.toml", "--budget", 1000)
    assert done.exit_code == 2
    assert "a budget of 1,000 bytes cannot be met: the smallest network that these layers allow has" in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_each_mistake_is_one_line(course, tmp_path):
    (tmp_path / "c.toml").write_text(CONFIGURATION.replace("BITS", "99"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.toml").write_text(CONFIGURATION.replace("BITS", "8"))
    (tmp_path / "d.toml").write_text(CONFIGURATION.replace("BITS", "8").replace("classyclassifier", "resnet"))
    (tmp_path / "e.toml").write_text(CONFIGURATION.replace("num_bits = BITS", "indices = [0, 3]"))
    for words, told in (
        ((), "name a configuration"),
        ((tmp_path / "c.toml",), "layers[0]: num_bits is 2 to 16, not 99"),
        ((tmp_path / "a.toml", tmp_path / "c.toml"), "num_bits is 2 to 16"),  # before anything has run
        ((tmp_path / "a.toml", tmp_path / "other" / "a.toml"), "two configurations are called 'a'"),
        ((tmp_path / "d.toml",), "d.toml: network: is one of classyclassifier, "),
        ((tmp_path / "e.toml",), "e.toml: layers[0].indices: no layer 3 of kind 'linear': indices are 0 to 2"),
        ((tmp_path / "a.toml", tmp_path / "b.toml", "--output", tmp_path / "x"), "--output is for one configuration"),
        (("--compare", "--images", tmp_path), "--images, --budget and --drop are for configurations"),
        ((tmp_path / "a.toml", "--budget", 9, "--drop", 1), "either --budget or --drop"),
        ((tmp_path / "a.toml", "--budget", 9, "--images"), "--images is for a run"),
        (("--compare", tmp_path), "summary.json: cannot be read"),
    ):
        done = course(*words)
        assert done.exit_code == 2, words
        assert told in done.output
        assert len(done.output.strip().splitlines()) == 1
    assert not (tmp_path / "build").exists()
