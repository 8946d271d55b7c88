"""An exercise that is not written ends an Explore cell before there is a picture, not in the middle of one: JupyterLab
would show the half, empty axes, above the error."""

from __future__ import annotations

import ast

import pytest

from autograder.labs.lab import Lab, lab_names


def begins_before_it_asks(source: str, names: set[str]) -> bool:
    """Whether a cell makes a figure and uses its first answer below."""
    nodes = list(ast.walk(ast.parse(source)))
    asks = [node.lineno for node in nodes if isinstance(node, ast.Name) and node.id in names]
    begins = [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("subplots", "figure")]
    return bool(asks and begins) and min(begins) < min(asks)


@pytest.mark.parametrize("name", lab_names())
def test_answers_are_asked_before_anything_is_drawn(name: str):
    lab = Lab(name)
    answers = {answer for exercise in lab.exercises for answer in exercise.names}
    halves = [c.id for c in lab.cells if c.explore and c.is_code and begins_before_it_asks(c.source, answers)]
    assert not halves


def test_the_order_decides():
    assert begins_before_it_asks("figure, ax = plt.subplots()\nax.plot(mse(x))", {"mse"})
    assert not begins_before_it_asks("y = mse(x)\nfigure, ax = plt.subplots()\nax.plot(y)", {"mse"})
