"""One grader for all labs: its two servers import torch once, and no gate grades what another one has graded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder.cache import ResultCache
from autograder.grading import Grader


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with ResultCache() as cache, Grader(cache) as grader:
        yield grader
