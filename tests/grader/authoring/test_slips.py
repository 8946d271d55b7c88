"""Slips that no grading shows are found in the source."""

from __future__ import annotations

import pytest
from mini_course import MINI, write_mini

from autograder.authoring.slips import slips
from autograder.labs.lab import Lab, lab_names

RIGHT_IN_A_CHECK = """
    g = generator()
    x, y = torch.randn(3, generator=g), torch.empty(3).normal_(generator=g)
    expect(type(double(3)) is int, "twice a whole number is one")
    expect(double(x) is not None, "there is a result")
    expect(x[0] == x[1], "there is a result")
    expect_equal(double(3), double(3), "there is a result")

    @probe
    def same(values):
        x = torch.rand(3)
        return double(x) is x and x.data_ptr() == double(x).data_ptr()
"""


def found(tmp_path, old: str, new: str) -> list[tuple[str, str]]:
    """What a change of the small lab is told, beside what it is told itself, which has rules that it only hides."""
    assert old in MINI
    known = list(slips(write_mini(tmp_path / "before")))
    return [slip for slip in slips(write_mini(tmp_path / "after", MINI.replace(old, new, 1))) if slip not in known]


def test_what_is_right_is_no_slip(tmp_path):
    assert found(tmp_path, 'with check("double"):', f'with check("double"):{RIGHT_IN_A_CHECK}') == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FACTOR = 3", "overwrites 'FACTOR' of the cell given-2"),
        ("import os as torch", "overwrites 'torch'"),
        ("for FACTOR in (1, 2): pass", "overwrites 'FACTOR'"),
        ("def double(x): return 2 * x", "overwrites 'double' of the cell double"),
        ("x = torch.randn(3)", "draws `torch.randn(3)` from no seed"),
        ("x = torch.empty(3).uniform_()", "draws `torch.empty(3).uniform_()` from no seed"),
        ("x = np.random.rand(3)", "draws `np.random.rand(3)` from no seed"),
        ("expect(double(x) is not x, 'new')", "asks `double(x) is not x`"),
        ("expect(id(double(x)) != id(x), 'new')", "asks `id(double(x))`"),
        ("expect(double(x).data_ptr(), 'new')", "asks `double(x).data_ptr()`"),
        ("expect(True, 'the double of 3 is 6')", "`expect(True, 'the double of 3 is 6')` holds or breaks whatever"),
        ("expect(2 * 3 == 6, 'the double of 3 is 6')", "holds or breaks whatever the answer is"),
        ("expect(x.shape == x.shape, 'the double of 3 is 6')", "holds or breaks whatever the answer is"),
        ("expect_equal(x[0], x[0], 'the double of 3 is 6')", "holds or breaks whatever the answer is"),
    ],
)
def test_what_grading_cannot_show_is_told(line, words, tmp_path):
    told = found(tmp_path, 'with check("double"):\n', f'with check("double"):\n    {line}\n')
    assert {where for where, _ in told} == {"check_double"} and words in told[0][1]


def test_a_seedless_draw_in_given_code_is_told(tmp_path):
    assert found(tmp_path, "FACTOR = 2", "def pair():\n    return torch.rand(2)")[0][0] == "given-2"


@pytest.mark.parametrize("cell", ['# %% tags=["explore"]\n', 'with check("counter"):\n'])
def test_an_answer_that_students_see_is_told(cell, tmp_path):
    start = MINI.index("    def step(")
    step = MINI[start : MINI.index("        return self.value", start)]
    ((where, told),) = found(tmp_path, cell, cell + step)
    assert where in ("explore-3", "check_counter") and "shows 2 of 3 long lines of the answer to counter" in told


HIDDEN_ONLY = "has a rule with no case in the lines that students see: "


def test_a_rule_that_only_hidden_lines_have_is_told(tmp_path):
    lab = write_mini(tmp_path / "a")
    told = [told.removeprefix(HIDDEN_ONLY) for where, told in slips(lab) if where == "check_double"]
    assert told == ["'doubling leaves its input alone'", "'doubling works on tensors'", "'a string is refused'"]
    first = "    ### BEGIN HIDDEN TESTS\n    x = torch"
    shown = '    rule = "doubling works on tensors"\n    expect_equal(double(torch.ones(1)), 2, rule)\n'
    lab = write_mini(tmp_path / "b", MINI.replace(first, shown + first, 1))
    assert len([told for where, told in slips(lab) if where == "check_double"]) == 2
    named = '    ### BEGIN HIDDEN TESTS\n    rule = "named above"\n    expect(double(1), rule)\n    x = torch'
    assert found(tmp_path / "c", first, named) == [("check_double", HIDDEN_ONLY + "'named above'")]


def test_what_is_left_to_do_is_told_with_its_file(tmp_path):
    lab = write_mini(tmp_path, MINI.replace("# # Mini", "# # TODO: a title\n#\n# TODO: the idea"))
    (lab.folder / "hints.toml").write_text('[double]\nidea = "TODO"\n')
    assert list(slips(lab))[:2] == [
        ("00_mini.py", "2 TODO left, the first in line 13"),
        ("hints.toml", "1 TODO left, the first in line 2"),
    ]


@pytest.mark.parametrize("name", lab_names())
def test_every_lab_is_without(name):
    assert list(slips(Lab(name))) == []
