"""What all tests share: the folder of real data, when there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # two test processes share two cores; torch's idle threads would spin against each other

sys.path.insert(0, str(Path(__file__).parent))  # `sample_class` is for the tests and for `make course`

LONGEST_FIRST = ["browser", "labs", "autograder"]  # folders; what is short fills the gaps at the end


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What goes to one test process as a whole: a file with its fixtures; of the tests of labs, each lab."""

    def folder(item: pytest.Item) -> int:
        name = item.path.parent.name
        return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=folder)
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        lab = parameters.get("name") or getattr(parameters.get("lab"), "name", None)
        of_a_lab = item.path.parent.name == "labs" and lab is not None
        item.add_marker(pytest.mark.xdist_group(lab if of_a_lab else item.path.stem))


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of real data (CIFAR-10, COCO, trained networks) that the environment variable COURSE_DATA names."""
    folder = os.environ.get("COURSE_DATA")
    if not folder:
        pytest.skip("COURSE_DATA is not set: what needs the real data sets was NOT tested")
    return Path(folder)
