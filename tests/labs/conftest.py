"""One grader for all labs: its two servers import torch once, and no gate grades what another one has graded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest
from sample_class import Student, write_sample_class

from autograder import ROOT
from autograder.authoring.answered import hurried
from autograder.grading.cache import ResultCache
from autograder.grading.grader import Graded, Grader, Submission
from autograder.labs.lab import Lab

SECONDS_OF_A_LOOP = 3


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    # by content: on a clean clone there are none, and everything is graded
    with ResultCache(ROOT / "build" / "gates.db") as cache, Grader(cache) as grader:
        yield grader


@pytest.fixture(scope="session")
def graded_class(
    grader: Grader, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[tuple[Student, Graded]]]:
    """A lab's sample class with what each student got; graded once, because its endless loop takes all its time (which
    is cut short: how long it is matters to nobody here)."""

    @functools.cache
    def grade(name: str) -> list[tuple[Student, Graded]]:
        lab, folder = Lab(name), tmp_path_factory.mktemp(name)
        students = write_sample_class(lab, folder)
        labs = {s.name: hurried(lab, SECONDS_OF_A_LOOP) if "timeout" in s.lost.values() else lab for s in students}
        return [(s, grader.grade(Submission.read(s.name, labs[s.name], folder / s.name))) for s in students]

    return grade
