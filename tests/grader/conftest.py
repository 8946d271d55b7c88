"""A tiny course, and a grader, that all tests of a session share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from mini_course import write_mini

from autograder.grading import spread
from autograder.grading.grader import Graded, Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab
from autograder.processes import servers
from autograder.processes.forkserver import Parent


@pytest.fixture(scope="session", autouse=True)
def one_parent() -> Iterator[None]:
    """What grades inside this process, a command too, has its servers from one parent: each would import torch anew.
    How a parent starts and ends is tested with commands that run in a process of their own."""
    with Parent() as started, pytest.MonkeyPatch.context() as patch:
        for module in (servers, spread):
            patch.setattr(module, "Parent", lambda: contextlib.nullcontext(started))
        yield


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
