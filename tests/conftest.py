"""What all tests share: the folder of real data, when there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # two test processes share two cores; torch's idle threads would spin against each other

sys.path.insert(0, str(Path(__file__).parent))  # `sample_class` is for the tests and for `make course`


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of real data (CIFAR-10, COCO, trained networks) that the environment variable COURSE_DATA names."""
    folder = os.environ.get("COURSE_DATA")
    if not folder:
        pytest.skip("COURSE_DATA is not set: what needs the real data sets was NOT tested")
    return Path(folder)
