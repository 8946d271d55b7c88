"""A lab's source becomes a release in which nothing secret is left."""

from __future__ import annotations

import json

import nbformat
import pytest
from mini_course import MINI, write_mini

from autograder.errors import CourseError
from autograder.labs.build import build, is_current, release, release_bytes, release_path
from autograder.labs.lab import Lab, lab_names


def test_cells_and_questions(mini):
    assert [c.kind for c in mini.cells] == ["given"] * 3 + [
        *("exercise", "check", "exercise", "check", "check", "given", "written")
    ]
    assert mini.cells[2].explore
    assert [c.id for c in mini.exercises] == ["double", "counter"]
    assert mini.exercises[1].names == ("Counter",)
    assert mini.max_score == 4
    assert mini.exercise_of(mini.questions[2]).id == "counter"
    assert mini.check_seconds == 2


def test_a_check_says_how_many_points_it_is_worth(mini):
    for cell in mini.cells:
        if cell.kind == "check":
            assert cell.source.startswith(f"# {cell.points:g} point")


def test_the_release_has_stubs_and_no_secrets(mini):
    text = release_bytes(mini).decode()
    for secret in ("FACTOR * x", "HIDDEN", "SOLUTION", "doubling works", "model answer"):
        assert secret not in text
    cells = {c["id"]: c for c in release(mini).cells}
    assert cells["double"].source.endswith('raise NotImplementedError("double")')
    assert "Twice x" in cells["double"].source
    assert "the double of 3 is 6" in cells["check_double"].source
    assert cells["check_double"].metadata.editable is False
    assert "editable" not in cells["double"].metadata
    explore = next(c for c in release(mini).cells if "explore" in c.metadata.get("tags", []))
    assert "nbgrader" not in explore.metadata, "explore cells are free to play with"
    nbformat.validate(release(mini))


def test_the_same_source_gives_the_same_bytes(mini, tmp_path):
    assert release_bytes(mini) == release_bytes(write_mini(tmp_path))


def test_build_writes_once_and_tells_drift(tmp_path):
    lab = write_mini(tmp_path)
    assert not is_current(lab)
    assert build(lab) is True
    assert build(lab) is False
    assert is_current(lab)
    instructor = json.loads((tmp_path / "build/source/00_mini/00_mini.ipynb").read_text())
    assert "FACTOR * x" in json.dumps(instructor)
    release_path(lab).write_bytes(release_path(lab).read_bytes() + b" ")
    assert not is_current(lab)


def test_a_lab_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write_mini(tmp_path)
    assert lab_names(tmp_path) == ["00_mini"]
    with pytest.raises(CourseError, match=r"no lab '77_x'.*00_mini"):
        Lab("77_x", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"grade_id": "counter"', '"grade_id": "double"', "'double' stands on more than one cell"),
        ("    ### END SOLUTION\n\n# %% nbgrader={", "\n# %% nbgrader={", "'### BEGIN SOLUTION' without its end"),
        ("check_seconds", "check_second", "'check_second', which means nothing: 'check_seconds' is meant"),
        ("withhold", "refuse", r"'refuse', which means nothing \(known: title, "),
        ("check_seconds: 2", "check_seconds: two", "check_seconds: two, which is no positive number"),
        ("check_seconds: 2", "check_seconds: 0", "check_seconds: 0, which is no positive number"),
        ("#       [course_utils.checks", "#       course_utils.checks", "which is no list of names, like"),
        ('"double", "solution": true', '"double", "solutions": true', "double has 'solutions' .*'solution' is meant"),
        ('"double", "solution": true}', '"double", "solution": true', "BEGIN SOLUTION', where only exercises have it"),
        ('"grade_id": "double", ', "", r"cell 4 \(def double\(x\):\) needs a grade_id"),
        ('"grade_id": "double"', '"grade_id": "double it"', "needs a grade_id of up to 64 letters"),
        (', "solution": true}', "}", "double is neither an exercise"),
        (', "points": 2', "", "check_double is graded, and needs points .*there are none"),
        ('"points": 2', '"points": "2"', "needs points in its header, a number: they are '2'"),
        ('"points": 2', '"points": -2', "they are -2"),
        ('tags=["explore"]', 'tags=["explor"]', r"cell 3 \(raise Runtime.* has the tag 'explor': 'explore' is meant"),
        ("### BEGIN HIDDEN TESTS", "### BEGIN HIDDEN TEST", "check_double has .*'### BEGIN HIDDEN TESTS' is meant"),
        ("### BEGIN HIDDEN TESTS", "### Begin hidden tests", "'### BEGIN HIDDEN TESTS' is meant"),
        ("    ### BEGIN HIDDEN TESTS\n", "", "END HIDDEN TESTS' where '### BEGIN HIDDEN TESTS' must"),
        ("### BEGIN HIDDEN TESTS", "### BEGIN SOLUTION", "check_double has '### BEGIN SOLUTION', where only exercises"),
        ("return FACTOR * x", "return FACTOR * x)", r"double is no Python: unmatched '\)' in 'return FACTOR"),
        ("# %% [markdown] nbgrader", "# %% nbgrader", "why is a written question by its header, but code"),
        ("# %% tags", '# %% nbgrader={"grade_id": "a", "grade": true, "points": 1}\n\n# %% tags', "no exercise stands"),
        ('[markdown] nbgrader={"grade_id": "why", "grade": true, "solution": true, "points": 3}',
         '[markdown] nbgrader={"grade_id": "why", "grade": true, "points": 3}', "why is a check by its header, but"),
    ],
)  # fmt: skip
def test_slips_of_an_author_are_told(tmp_path, old, new, words):
    assert old in MINI
    lab = write_mini(tmp_path, MINI.replace(old, new, 1))
    with pytest.raises(CourseError, match=words):
        _ = lab.cells


def test_an_exercise_without_answer_is_told(tmp_path):
    source = MINI.replace("    ### BEGIN SOLUTION\n", "", 1).replace("    ### END SOLUTION\n", "", 1)
    with pytest.raises(CourseError, match="double is an exercise, and has no answer between '### BEGIN SOLUTION'"):
        _ = write_mini(tmp_path, source).cells


def test_variants_need_an_exercise_and_a_rule(tmp_path):
    lab = write_mini(tmp_path)
    wrong = lab.folder / "wrong"
    wrong.mkdir()
    (wrong / "double__triples.py").write_text("# Mistake: three times\n# Rule: the double of 3 is 6\n")
    (variant,) = lab.variants(right=False)
    assert (variant.name, variant.exercise, variant.rule) == ("double__triples", "double", "the double of 3 is 6")
    (wrong / "double__no-rule.py").write_text("# Mistake: none\n")
    with pytest.raises(CourseError, match=r"double__no-rule.py lacks the comment line '# Rule"):
        lab.variants(right=False)
    (wrong / "double__no-rule.py").unlink()
    (wrong / "half__x.py").write_text("")
    with pytest.raises(CourseError, match="'half' is no exercise"):
        lab.variants(right=False)


def test_what_labs_share_stands_once(tmp_path):
    source = MINI.replace("# # Mini\n", "# # Mini\n#\n# include: how.md\n", 1)
    lab = write_mini(tmp_path, source.replace("FACTOR = 2", "# include: factor.py"))
    shared = tmp_path / "solutions" / "shared"
    shared.mkdir()
    (shared / "how.md").write_text("Read,\nthen write.\n")
    with pytest.raises(
        CourseError, match=r"00_mini.py: include: factor.py: there is no such file .*files there: how.md"
    ):
        _ = lab.cells
    (shared / "factor.py").write_text("FACTOR = 2\n")
    cells = Lab(lab.name, lab.root).cells
    assert cells[0].source == "# Mini\n\nRead,\nthen write."
    assert cells[1].source.endswith("\nFACTOR = 2")
