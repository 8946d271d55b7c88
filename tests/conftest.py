"""What all tests share: the folder of real data, when there is one."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

torch.set_num_threads(1)  # two test processes share two cores; torch's idle threads would spin against each other

sys.path.insert(0, str(Path(__file__).parent))  # `sample_class` is for the tests and for `make course`

TESTS = Path(__file__).parent
LONGEST_FIRST = ["browser", "labs", "grader"]  # folders; what is short fills the gaps at the end
STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    quick = parser.getgroup("make quick")
    quick.addoption("--seconds", type=float, help="Begin no further test when so many seconds have passed.")
    quick.addoption("--labs", help="Of the tests that each lab has, run those of these labs only (commas between).")


NOT_BEGUN = "not begun in time"


def pytest_runtest_setup(item: pytest.Item) -> None:
    seconds = item.config.getoption("--seconds")
    if seconds is not None and time.monotonic() - STARTED > seconds:
        pytest.skip(NOT_BEGUN)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):  # of a test's setup, call or teardown
                seconds["/".join(report.nodeid.partition("::")[0].split("/")[1:3])] += report.duration
    if sum(seconds.values()) > 60:
        terminalreporter.section("seconds by folder, of all test processes together")
        for folder, duration in seconds.most_common():
            if duration >= 1:
                terminalreporter.line(f"{duration:6.0f}  {folder}")
    left = Counter(
        r.nodeid.partition("::")[0] for r in terminalreporter.stats.get("skipped", []) if NOT_BEGUN in str(r.longrepr)
    )
    if left:
        terminalreporter.section("not begun in time; make test runs them")
        for file, count in left.items():
            terminalreporter.line(f"{count} of {file}")


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def folder(item: pytest.Item) -> int:
        name = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)

    if config.getoption("--seconds") is None:  # else they come in the order in which they are asked for
        items.sort(key=folder)
    if labs := config.getoption("--labs"):
        wanted = set(labs.split(","))
        items[:] = [item for item in items if (lab := _lab_of(item)) is None or lab in wanted]


def _lab_of(item: pytest.Item) -> str | None:
    """The lab that a test is for, if it is for one: its first parameter says so."""
    values = item.callspec.id.split("-") if hasattr(item, "callspec") else [""]
    return values[0] if (TESTS.parent / "solutions" / values[0] / f"{values[0]}.py").is_file() else None


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of real data (CIFAR-10, COCO, trained networks) that the environment variable COURSE_DATA names."""
    folder = os.environ.get("COURSE_DATA")
    if not folder:
        pytest.skip("COURSE_DATA is not set: what needs the real data sets was NOT tested")
    return Path(folder)
