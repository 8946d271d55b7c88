"""Answers that are mostly a copy of `course_utils` are named; nobody is named for the one way to write a formula."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import course_utils
from autograder.grading.copied import LONGEST, copied, lines_of, packed
from autograder.handout import wheel
from autograder.labs.lab import Lab, lab_names
from course_utils.numerics import rounding

SOURCE = Path(rounding.__file__).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab("02_quantization_helpers")


def renamed(source: str) -> str:
    return re.sub(r"\b(size|whole|chance|draw|rounding)\b", r"my_\1", source)


@pytest.mark.parametrize("paste", [SOURCE, renamed(SOURCE), SOURCE.replace("    ", "  "), "# mine\n" + SOURCE])
def test_a_paste_is_named_with_its_file_whatever_it_was_made_to_look_like(lab: Lab, paste: str) -> None:
    adapter = (
        "\n\ndef round_stochastic(x, step, generator):\n    return round_(x / step, 'stochastic', generator) * step\n"
    )
    (found,) = copied(lab, {"round_stochastic": paste + adapter})
    assert found.source == "numerics/rounding.py"
    assert "round_stochastic" in str(found) and found.share > 0.75
    assert len(found.lines) > 6
    assert found.lines[0] in found.with_lines and found.with_lines.startswith(str(found))


@pytest.mark.parametrize("name", lab_names())
def test_no_reference_answer_and_no_right_variant_is_named(name: str) -> None:
    lab = Lab(name)
    answers = [{cell.id: cell.source} for cell in lab.exercises]
    answers += [{v.exercise: v.source} for v in lab.variants(right=True)]
    assert not [found for answer in answers for found in copied(lab, answer) + packed(lab, answer)]


def test_a_packed_paste_is_named_as_one_that_cannot_be_read(lab: Lab) -> None:
    """As the students' wheel carries it, and on one line."""
    paste = wheel.packed(SOURCE.encode()).decode()
    for source in (paste, paste.replace("\n", "").replace('"""', "'")):
        (told,) = packed(lab, {"round_stochastic": source})
        assert told.startswith("round_stochastic: ") and len(told) < 200
    table = f"TABLE=[{','.join(map(str, range(99)))}]  # a table is none\n"
    assert packed(lab, {"round_stochastic": table}) == []


@pytest.mark.parametrize("odd", ["", "def broken(:", "x = (", "\0", "if" * 1000, SOURCE * (LONGEST // len(SOURCE) + 1)])
def test_whatever_a_stranger_writes(lab: Lab, odd: str) -> None:
    assert copied(lab, {"round_stochastic": odd}) == []
    packed(lab, {"round_stochastic": odd})


def test_lines_are_compared_as_words() -> None:
    assert lines_of("x = f(a, b)  # why\n").keys() == lines_of("y=g(c,\n  d)\n").keys()
    assert not lines_of("return x * y\n"), "too short to be anybody's"
    assert Path(course_utils.__file__).is_file()
