"""Every lab, answered, runs from top to bottom on CIFAR-10, COCO and the trained networks: minutes, for `make slow`."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbclient import NotebookClient

from autograder.labs.build import answered
from autograder.labs.lab import Lab, lab_names


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", lab_names())
def test_lab_runs_on_the_real_data(name: str, course_data: Path, tmp_path: Path):
    NotebookClient(answered(Lab(name)), timeout=1200, resources={"metadata": {"path": tmp_path}}).execute()
