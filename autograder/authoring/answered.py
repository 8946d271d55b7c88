"""Submissions made of answers whose worth is known, for the gates and the mutants."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from autograder.grading.grader import Row
from autograder.grading.submission import Answers
from autograder.labs.build import release
from autograder.labs.cell import Cell
from autograder.labs.lab import Lab
from autograder.labs.variants import Variant


def reference_answers(lab: Lab) -> Answers:
    return Answers({c.id: c.source for c in lab.answers})


def released_answers(lab: Lab) -> Answers:
    wanted = {c.id for c in lab.answers}
    return Answers({c["id"]: c.source for c in release(lab).cells if c["id"] in wanted})


def with_variants(lab: Lab, variants: list[Variant]) -> Answers:
    answers = reference_answers(lab)
    answers.sources |= {v.exercise: v.source for v in variants}
    return answers


def hurried(lab: Lab, seconds: float) -> Lab:
    """The same lab with at most so many seconds for a check: for answers of which some never end."""
    same = Lab(lab.name, lab.root)
    same.settings["check_seconds"] = min(seconds, lab.check_seconds)
    return same


def checks_of(lab: Lab, exercise: str) -> list[Cell]:
    return [c for c in lab.cells if c.kind == "check" and lab.exercise_of(c).id == exercise]


def points_of(lab: Lab, exercise: str) -> float:
    return sum(c.points for c in checks_of(lab, exercise))


def rows_of(lab: Lab, variant: Variant, rows: Iterable[Row]) -> list[Row]:
    """Those of the checks of a variant's own exercise."""
    own = {c.id for c in checks_of(lab, variant.exercise)}
    return [r for r in rows if r.question in own]


def together(lab: Lab, variants: Iterable[Variant]) -> list[list[Variant]]:
    """Groups variants so that in a group there is at most one for each exercise, and none that another one calls.

    Most of what grading a variant takes is the start of processes and the running of the other answers. No exercise
    needs another one's answer (the third gate), so variants of different exercises do not meet, unless one calls
    another's function: such a one has the reference answer to that beside it.

    Returns:
        The groups. Every variant is in one, as early as it fits.
    """
    owner = {name: e.id for e in lab.exercises for name in e.names}
    groups: list[dict[str, Variant]] = []
    calls: list[set[str]] = []  # for each group, the exercises that its variants call
    for variant in variants:
        needs = {owner[name] for name in _names(variant.source) & owner.keys()} - {variant.exercise}
        for group, called in zip(groups, calls, strict=True):
            if variant.exercise not in group.keys() | called and not needs & group.keys():
                group[variant.exercise] = variant
                called |= needs
                break
        else:
            groups.append({variant.exercise: variant})
            calls.append(needs)
    return [list(group.values()) for group in groups]


def _names(source: str) -> set[str]:
    """The names that a source uses; none if it is no Python."""
    try:
        return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    except SyntaxError:
        return set()
