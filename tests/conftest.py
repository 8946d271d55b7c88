"""What all tests share: the folder of real data, when there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

torch.set_num_threads(1)  # two test processes share two cores; torch's idle threads would spin against each other

sys.path.insert(0, str(Path(__file__).parent))  # `sample_class` is for the tests and for `make course`

LONGEST_FIRST = ["browser", "labs", "grader"]  # folders; what is short fills the gaps at the end


class ByLab(LoadScopeScheduling):
    """Gives a test process whole files, with their fixtures; of the tests of labs, all of a lab, graded once."""

    # not marks for `--dist loadgroup`: xdist 3.8 writes them where pytest 9 does not look
    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        lab = test.partition("[")[2].partition("-")[0].rstrip("]")
        return lab if file.startswith("tests/labs/") and lab else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByLab:
    return ByLab(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def folder(item: pytest.Item) -> int:
        name = item.path.parent.name
        return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=folder)


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of real data (CIFAR-10, COCO, trained networks) that the environment variable COURSE_DATA names."""
    folder = os.environ.get("COURSE_DATA")
    if not folder:
        pytest.skip("COURSE_DATA is not set: what needs the real data sets was NOT tested")
    return Path(folder)
