"""Variants of several exercises in one submission."""

from __future__ import annotations

from mini_course import write_mini

from autograder.authoring.answered import together
from autograder.labs.variants import Variant


def variant(name: str, exercise: str, source: str) -> Variant:
    return Variant(name, exercise, right=False, source=source, rule="", about="")


def test_who_calls_nobody_comes_together_and_nobody_is_lost(tmp_path):
    lab = write_mini(tmp_path)
    first, second = (e.id for e in lab.exercises[:2])
    several = [variant(f"{e}{n}", e, f"def {e}(x):\n    return {n}\n") for e in (first, second) for n in range(3)]
    broken = variant("broken", second, "def (")
    groups = together(lab, [*several, broken])
    assert [[v.name for v in g] for g in groups] == [
        *([f"{first}{n}", f"{second}{n}"] for n in range(3)),
        ["broken"],
    ]


def test_who_calls_another_exercise_has_no_wrong_answer_to_it_beside(tmp_path):
    lab = write_mini(tmp_path)
    first, second = (e.id for e in lab.exercises[:2])
    name = lab.exercises[0].names[0]
    caller = variant("caller", second, f"def square(x):\n    return {name}(x)\n")
    called = variant("called", first, f"def {name}(x):\n    return 3\n")
    for order in ([caller, called], [called, caller]):
        assert [len(g) for g in together(lab, order)] == [1, 1]
