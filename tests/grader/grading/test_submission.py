"""Answers are taken by grade_id out of whatever a student hands in."""

from __future__ import annotations

import ast
import copy
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.grading.submission import added_names, notebook_path, read_answers
from autograder.labs.build import release
from autograder.labs.notebook_file import read_cells
from course_utils.checks.notebook import Unreadable


@pytest.fixture
def notebook(mini):
    notebook = copy.deepcopy(release(mini))
    for cell in notebook.cells:
        if cell["id"] == "double":
            cell.source = "def double(x):\n    return 2 * x"
    return notebook


@pytest.fixture
def read(mini, tmp_path):
    def run(notebook):
        path = tmp_path / "00_mini.ipynb"
        path.write_bytes(notebook if isinstance(notebook, bytes) else nbformat.writes(notebook).encode())
        return read_answers(path, mini)

    return run


def place(notebook, grade_id):
    return next(i for i, c in enumerate(notebook.cells) if c["id"] == grade_id)


def test_answers_come_from_answer_cells_only(read, notebook):
    answers = read(notebook)
    assert answers.sources.keys() == {"double", "counter", "why"}
    assert answers.sources["double"] == "def double(x):\n    return 2 * x"
    assert answers.notes == []


def test_of_duplicates_the_last_edited_one_counts(read, notebook):
    twin = copy.deepcopy(notebook.cells[place(notebook, "double")])
    twin["id"], twin.source = "twin", release_source("double", notebook)
    notebook.cells.append(twin)
    assert read(notebook).sources["double"].endswith("return 2 * x"), "a stub does not count against an answer"
    notebook.cells[-1].source = "def double(x):\n    return x + x"
    answers = read(notebook)
    assert answers.sources["double"].endswith("x + x")
    assert any("2 cells have this id" in note for note in answers.notes)


def release_source(grade_id, notebook):
    return '''def double(x):
    """Twice x; a ValueError for a string."""
    # YOUR CODE HERE
    raise NotImplementedError("double")'''


def test_deleted_reordered_and_edited_cells(read, notebook):
    notebook.cells = [c for c in reversed(notebook.cells) if c["id"] not in ("counter", "check_counter")]
    notebook.cells[place(notebook, "check_double")].source = "pass"
    answers = read(notebook)
    assert answers.sources.keys() == {"double", "why"}
    assert sorted(answers.notes) == [
        "check_counter: the check cell was deleted",
        "check_double: the check cell was edited",
        "counter: the cell is missing",
    ]


def test_a_cell_that_lost_its_id_is_found_by_what_it_defines(read, notebook):
    notebook.cells[place(notebook, "double")].metadata = {}
    answers = read(notebook)
    assert answers.sources["double"].endswith("2 * x")
    assert any("id is lost" in note for note in answers.notes)


def test_a_written_answer_that_lost_its_id_is_the_one_text_below_its_question(read, notebook):
    at = place(notebook, "why")
    notebook.cells[at].metadata, notebook.cells[at].source = {}, "Because."
    notebook.cells.append(new_markdown_cell(""))
    answers = read(notebook)
    assert answers.sources["why"] == "Because."
    assert any(note.startswith("why: the cell's id is lost; the text below") for note in answers.notes)
    notebook.cells.append(new_markdown_cell("Or not?"))
    assert "why" not in read(notebook).sources, "which of the two is not guessed"
    notebook.cells[at - 1].source += " Really?"
    del notebook.cells[-1]
    assert "why" not in read(notebook).sources, "the question is not the one that was handed out"


def test_an_answer_retyped_as_markdown_still_counts(read, notebook):
    cell = new_markdown_cell("def double(x): return 2*x", metadata=notebook.cells[place(notebook, "double")].metadata)
    notebook.cells[place(notebook, "double")] = cell
    assert read(notebook).sources["double"] == "def double(x): return 2*x"


def test_byte_order_marks_windows_line_ends_and_split_sources(read, notebook):
    raw = json.loads(nbformat.writes(notebook))
    raw["cells"][place(notebook, "double")]["source"] = ["def double(x):\r\n", "    return 2 * x"]
    answers = read(b"\xef\xbb\xbf" + json.dumps(raw).encode())
    assert answers.sources["double"] == "def double(x):\n    return 2 * x"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n", "not UTF-8"),
        (b"", "is empty"),
        (b"{]", "not JSON (line 1"),
        (b"[]", "no object"),
        (b"{}", "not a notebook"),
        (b'{"cells": 5}', "not a notebook"),
        (b'{"cells": [{"no": "source"}]}', "not a notebook"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_notebook_is_told_by_name(read, content, words):
    with pytest.raises(Unreadable) as error:
        read(content)
    assert "00_mini.ipynb" in str(error.value)
    assert words in str(error.value)


def test_a_huge_file_is_not_read(mini, tmp_path):
    path = tmp_path / "00_mini.ipynb"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(Unreadable, match="200 MiB"):
        read_answers(path, mini)


def test_a_flood_of_cells_or_code_is_not_parsed_again_and_again(read, notebook, monkeypatch):
    """Ten thousand empty cells, then as much code as fits, and no ids: both took the better part of a minute."""
    parsed = []
    real = ast.parse
    monkeypatch.setattr(ast, "parse", lambda source, *rest: parsed.append(len(source)) or real(source, *rest))
    raw = json.loads(nbformat.writes(notebook))
    for cell in raw["cells"]:
        cell["metadata"] = {}
    read(json.dumps(raw).encode())
    plain = len(parsed)
    empty = {"cell_type": "code", "source": "", "metadata": {}}
    assert "double" in read(json.dumps(raw | {"cells": [empty] * 10_000 + raw["cells"]}).encode()).sources
    assert len(parsed) <= 2 * plain
    parsed.clear()
    long = {"cell_type": "code", "source": "double = counter = 0\n" * 50_000, "metadata": {}}
    read(json.dumps(raw | {"cells": [long]}).encode())
    assert max(parsed, default=0) < 100_000


def spoiled(raw: dict, number: int, **fields: object) -> dict:
    """A notebook with one cell changed; a field that is ... is taken away."""
    cell = {k: v for k, v in (raw["cells"][number] | fields).items() if v is not ...}
    return raw | {"cells": [*raw["cells"][:number], cell, *raw["cells"][number + 1 :]]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw | {"nbformat": "4"},
        lambda raw: raw | {"nbformat": None, "nbformat_minor": "x"},
        lambda raw: raw | {"nbformat": 5, "metadata": None, "unknown": [1]},
        lambda raw: {"cells": raw["cells"]},
        lambda raw: raw | {"cells": [None, 5, "x", [], *raw["cells"]]},
        lambda raw: spoiled(raw, 0, source=None),
        lambda raw: spoiled(raw, 0, source=...),
        lambda raw: spoiled(raw, 0, source=[None, "a", 5]),
        lambda raw: spoiled(raw, 1, source={"a": 1}, outputs=..., id=5),
        lambda raw: spoiled(raw, 1, cell_type=None, id=None),
        lambda raw: spoiled(raw, 1, cell_type="query", outputs="none"),
        lambda raw: spoiled(raw, 1, metadata=...),
        lambda raw: spoiled(raw, 1, metadata=[], attachments=5),
        lambda raw: spoiled(raw, 1, metadata={"tags": None, "nbgrader": [1]}),
    ],
)
def test_one_bad_field_costs_a_cell_and_never_the_answers(read, notebook, spoil):
    raw = spoil(json.loads(nbformat.writes(notebook)))
    for content in (json.dumps(raw).encode(), b"\xef\xbb\xbf" + json.dumps(raw).encode()):
        assert read(content).sources.keys() == {"double", "counter", "why"}


def test_an_old_version_of_the_format_is_read_as_well(read, notebook):
    old = json.loads(nbformat.writes(nbformat.convert(notebook, 3), version=3))
    assert read(json.dumps(old).encode()).sources.keys() == {"double", "counter", "why"}


def test_what_is_odd_is_told(read, notebook):
    raw = spoiled(json.loads(nbformat.writes(notebook)), 0, source=None)
    assert "cell 1 of 00_mini.ipynb has no source" in read(json.dumps(raw).encode()).notes


@pytest.mark.parametrize("metadata", [None, 5, {"nbgrader": None}, {"nbgrader": {"grade_id": []}}])
def test_odd_metadata_does_no_harm(read, notebook, metadata):
    raw = json.loads(nbformat.writes(notebook))
    raw["cells"][0]["metadata"] = metadata
    assert "double" in read(json.dumps(raw).encode()).sources


def test_the_only_notebook_counts_whatever_its_name(mini, tmp_path):
    with pytest.raises(Unreadable, match="no notebook"):
        notebook_path(tmp_path, mini)
    (tmp_path / "my work.ipynb").write_text("{}")
    assert notebook_path(tmp_path, mini).name == "my work.ipynb"
    (tmp_path / "other.ipynb").write_text("{}")
    with pytest.raises(Unreadable, match=r"my work.ipynb, other.ipynb"):
        notebook_path(tmp_path, mini)
    (tmp_path / "00_mini.ipynb").write_text("{}")
    assert notebook_path(tmp_path, mini).name == "00_mini.ipynb"


def test_a_notebook_of_another_lab_is_not_taken_for_this_one(mini, tmp_path):
    (mini.root / "solutions" / "01_other").mkdir(exist_ok=True)
    (mini.root / "solutions" / "01_other" / "01_other.py").write_text("# %%\n")
    (tmp_path / "01_other.ipynb").write_text("{}")
    try:
        with pytest.raises(Unreadable, match=r"00_mini\.ipynb is missing"):
            notebook_path(tmp_path, mini)
    finally:
        (mini.root / "solutions" / "01_other" / "01_other.py").unlink()


def test_the_cells_of_another_lab_are_known_whatever_the_file_s_name(mini, read, notebook):
    folder = mini.root / "solutions" / "01_other"
    folder.mkdir(exist_ok=True)
    marked = "### BEGIN SOLUTION\n{}\n### END SOLUTION\n"
    source = '# %% nbgrader={{"grade_id": "{}", "solution": true}}\n' + marked
    (folder / "01_other.py").write_text(source.format("halve", "halve = 1") + source.format("third", "third = 1"))
    other = copy.deepcopy(notebook)
    for cell, name in zip(other.cells, ("halve", "third", "x", "y", "z", "a", "b", "c", "d", "e"), strict=False):
        cell.metadata["nbgrader"] = {"grade_id": name}
    try:
        with pytest.raises(Unreadable, match=r"00_mini.ipynb is a notebook of 01_other, not of 00_mini"):
            read(other)
    finally:
        (folder / "01_other.py").unlink()


def test_names_of_added_cells(mini, notebook, tmp_path):
    notebook.cells.append(new_code_cell("import math as m, os.path\ndef helper(): pass"))
    notebook.cells.append(new_code_cell("not python"))
    path = tmp_path / "n.ipynb"
    nbformat.write(notebook, path)
    assert set(added_names(read_cells(path), mini)) == {"m", "os", "helper"}
