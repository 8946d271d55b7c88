"""A tiny course, and a grader, that all tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini_course import write_mini

from autograder.grading.grader import Graded, Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return write_mini(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.fixture
def grade(mini: Lab, grader: Grader):
    """Grades the mini lab with some exercises answered; the others hold the reference answers."""

    def run(**sources: str) -> dict[str, Graded]:
        answers = Answers({c.id: c.source for c in mini.answers} | sources)
        return {row.question: row for row in grader.grade(Submission("student", mini, answers)).rows}

    return run
