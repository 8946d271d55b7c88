"""Stored tables: written as they lie in data/weights, and what cannot be read is named."""

from __future__ import annotations

import json
import re

import pytest

from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import TableError, read_stored, stored_path, write_stored

STORED = sorted(WEIGHTS.glob("*.json"))


def test_there_are_stored_tables():
    assert STORED


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_what_is_read_is_written_again_byte_for_byte(path, tmp_path):
    again = tmp_path / path.name
    write_stored(again, **read_stored(path, dict, "no script"))
    assert again.read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_part_is_a_map_or_a_list_and_may_be_empty(tmp_path):
    path = stored_path("kind", "name", tmp_path)
    told = {"facts": {"seed": 0}, "rows": {"a": [1, 2]}, "runs": [{"b": 1.5}], "none": []}
    write_stored(path, **told)
    assert path.name == "kind-name.json" and json.loads(path.read_text()) == told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such table; there are: other"),
        ("folder", "cannot be read: "),
        ("{", "Make it anew with script.py."),
        ("[]", "TypeError"),
        ("{}", "KeyError('facts')"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, told):
    write_stored(stored_path("kind", "other", tmp_path), {})
    path = stored_path("kind", "name", tmp_path)
    if content == "folder":
        path.mkdir()
    elif content:
        path.write_text(content)
    with pytest.raises(TableError, match=re.escape(told)) as caught:
        read_stored(path, lambda stored: stored["facts"]["seed"], "script.py")
    assert str(path) in str(caught.value)
