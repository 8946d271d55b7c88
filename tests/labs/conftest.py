"""One grader for all labs: its two servers import torch once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder.grading import Grader


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader
