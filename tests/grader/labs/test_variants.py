"""Variants: whole answers, and differences from the reference answer, which are either applied or refused by name."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from mini_course import MINI, write_mini

from autograder.cli import main
from autograder.errors import CourseError
from autograder.labs.lab import Lab

TRIPLES = """
[triples]
mistake = "three times"
rule = "the double of 3 is 6"
replace = "FACTOR * x"
by = "3 * x"
"""


@pytest.fixture
def lab(tmp_path) -> Lab:
    lab = write_mini(tmp_path)
    (lab.folder / "wrong").mkdir()
    (lab.folder / "right").mkdir()
    return lab


def write(lab: Lab, text: str, name: str = "wrong/double.toml") -> None:
    (lab.folder / name).write_text(text)


def test_a_difference_makes_a_whole_answer(lab):
    write(lab, TRIPLES)
    write(lab, TRIPLES.replace("triples", "adds").replace("3 * x", "x + x").replace("mistake = ", "way = ").replace(
        'rule = "the double of 3 is 6"\n', ""), "right/double.toml")  # fmt: skip
    (wrong,), (right,) = lab.variants(right=False), lab.variants(right=True)
    assert (wrong.name, wrong.exercise, wrong.about) == ("double__triples", "double", "three times")
    assert (wrong.rule, right.rule, right.about) == ("the double of 3 is 6", "", "three times")
    reference = lab.exercises[0].source
    unmarked = "".join(line for line in reference.splitlines(keepends=True) if "###" not in line)
    assert wrong.source == unmarked.replace("FACTOR * x", "3 * x")
    assert right.source == unmarked.replace("FACTOR * x", "x + x")


def test_several_places_and_several_lines(lab):
    several = """
    [both]
    mistake = "two of them"
    rule = "the double of 3 is 6"
    replace = ["FACTOR * x", '''
    if isinstance(x, str):
        raise ValueError("a string cannot be doubled")
''']
    by = ["3 * x", ""]
    """
    write(lab, several)
    (variant,) = lab.variants(right=False)
    body = variant.source.partition('"""\n')[2]
    assert [line for line in body.splitlines() if line.strip()] == ["    return 3 * x"]


def test_differences_and_whole_answers_stand_side_by_side(lab):
    write(lab, TRIPLES + TRIPLES.replace("triples", "zeros").replace("3 * x", "0 * x"))
    write(lab, "# Mistake: adds\n# Rule: the double of 3 is 6\n", "wrong/double__adds.py")
    assert [v.name for v in lab.variants(right=False)] == ["double__adds", "double__triples", "double__zeros"]
    write(lab, "# Mistake: adds\n# Rule: the double of 3 is 6\n", "wrong/double__triples.py")
    with pytest.raises(CourseError, match="two variants with the name double__triples"):
        lab.variants(right=False)


def test_it_follows_the_reference_answer_or_is_told(lab):
    write(lab, TRIPLES)
    lab.source.write_text(MINI.replace("a string cannot be doubled", "no strings"))
    assert "no strings" in Lab(lab.name, lab.root).variants(right=False)[0].source
    lab.source.write_text(MINI.replace("return FACTOR * x", "return x * FACTOR"))
    with pytest.raises(CourseError, match=r"double.toml, \[triples\] does not apply: 'FACTOR \* x' stands 0 times"):
        Lab(lab.name, lab.root).variants(right=False)


REFUSED = {
    "stands 5 times in the answer": TRIPLES.replace("FACTOR * x", "a"),
    "stands 0 times in the answer": TRIPLES.replace("FACTOR * x", "Twice x"),  # the docstring is not the answer
    "replaces nothing": TRIPLES.replace("FACTOR * x", ""),
    "makes no Python: invalid syntax in 'return 3 \\*'": TRIPLES.replace("3 * x", "3 *"),
    r"two of its places overlap": TRIPLES.replace('"FACTOR * x"', '["FACTOR * x", "* x"]').replace(
        '"3 * x"', '["", ""]'
    ),
    "replaces 2 places by 1 texts": TRIPLES.replace('"FACTOR * x"', '["FACTOR", "* x"]'),
    r"\[triples\] must have by, mistake, replace, rule, and nothing else": TRIPLES.replace("rule", "rules"),
    "is not TOML": "[triples",
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_does_not_apply_is_refused_by_name(told: str, lab):
    write(lab, REFUSED[told])
    with pytest.raises(CourseError, match=told):
        lab.variants(right=False)


def test_the_whole_source_is_shown_by_a_command(lab):
    write(lab, TRIPLES)

    def run(name: str) -> str:
        return CliRunner().invoke(main, ["--root", str(lab.root), "gates", "00_mini", "--show", name]).output

    assert "return 3 * x\n" in run("double__triples")
    assert "there is none with the name 'double__triple'; near: 'double__triples'" in run("double__triple")
