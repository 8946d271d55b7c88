"""The thesis' experiments: committed configurations say what the thesis says, and the document shows what was found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from course_utils.profiler import read_configuration

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def thesis():
    spec = importlib.util.spec_from_file_location("thesis", ROOT / "experiments" / "thesis.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("data", ["cifar10", "shapes"])
def test_configurations_are_the_thesis_experiments(thesis, data):
    read = {n: read_configuration(thesis.HERE / f"mobilenetv2-{data}" / f"{n}.toml") for n in thesis.TEXTS}
    high, low = (list(read[name].choices[1].indices) for name in "bc")
    assert len(low) == len(high) == 5
    assert not set(low) & set(high)
    for name, configuration in read.items():
        assert configuration.text == thesis.configuration(name, data, low, high)
    halves = [read[name].choices[0].indices for name in ("first_half", "second_half")]
    assert (*halves[0], *halves[1]) == tuple(range(35))
    assert len(halves[0]) == 18


def test_the_document_shows_what_was_found(thesis):
    document = (ROOT / "docs" / "profiler.md").read_text(encoding="utf-8")
    for data in thesis.DATA:
        assert "\n".join(thesis.tables(data)) in document
    assert "\n".join(thesis.search_table()) in document
