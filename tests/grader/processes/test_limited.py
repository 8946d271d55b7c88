"""What works on strangers' data ends in time, takes little, says why, and the next call goes on."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import psutil
import pytest

from autograder.errors import CourseError
from autograder.processes import limited as module
from autograder.processes.limited import Limited, Stopped


def endless() -> None:
    while True:
        try:
            for _ in itertools.repeat(None):
                pass
        except BaseException:
            pass


def waits() -> None:
    os.read(os.pipe()[0], 1)


def greedy() -> int:
    return len("x" * (3 * module.MEMORY))


def deep() -> None:
    deep()


def refuses() -> None:
    raise CourseError("the lab is at fault")


def writes(path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("x" * 100)


FUNCTIONS = {
    **{"endless": endless, "waits": waits, "greedy": greedy, "deep": deep, "refuses": refuses, "writes": writes},
    "leaves": lambda: os._exit(7),
    "echo": lambda *values: [v.decode("latin-1") if isinstance(v, bytes) else v for v in values],
    "long": lambda: "x" * 100,
    "bytes": lambda count: b"\xff" * count,
}


@pytest.fixture(scope="module")
def limited():
    with Limited(FUNCTIONS, seconds=1) as limited:
        yield limited


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("endless", "it took more than 1 s"),
        ("greedy", "it took more than 1 GiB of memory"),
        ("leaves", r"the process that worked on it ended \(exit code 7\)"),
        ("deep", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_call_goes_on(limited: Limited, name: str, why: str):
    with pytest.raises(Stopped, match=why):
        limited.call(name)
    assert limited.call("echo", "a", 1, blob=b"\xff") == ["a", 1, "\xff"]


def test_who_waits_without_work_is_ended_by_the_clock_on_the_wall(monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.5)
    with Limited(FUNCTIONS, seconds=1) as limited, pytest.raises(Stopped, match="it took more than 1 s"):
        limited.call("waits")


def test_a_long_reply_is_refused(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_REPLY", 50)
    with Limited(FUNCTIONS) as limited, pytest.raises(Stopped, match="what came of it has 0 MiB"):
        limited.call("long")


def test_bytes_come_through_up_to_the_longest_frame(limited: Limited, monkeypatch):
    assert limited.call("bytes", 3) == b"\xff" * 3
    assert limited.call("bytes", 0) == b""
    assert limited.call("echo") == []
    monkeypatch.setattr(module, "MAX_BYTES", 50)
    with Limited(FUNCTIONS) as other, pytest.raises(Stopped, match="what came of it has 0 MiB"):
        other.call("bytes", 51)


def test_text_that_is_no_text_comes_through(limited: Limited):
    assert limited.call("echo", "caf\udce9", {"a": [None, 1.5]}) == ["caf\udce9", {"a": [None, 1.5]}]


def test_the_course_s_own_errors_are_the_callers(limited: Limited):
    with pytest.raises(CourseError, match="the lab is at fault"):
        limited.call("refuses")


def test_a_child_writes_no_file(limited: Limited, tmp_path: Path):
    with pytest.raises(Stopped, match="File too large"):
        limited.call("writes", str(tmp_path / "file"))
    assert not (tmp_path / "file").read_text()


def test_nothing_is_left_behind():
    with Limited(FUNCTIONS) as limited:
        limited.call("echo")
        server = psutil.Process(limited.server)
        assert len(server.children()) == 1
        held = {file.path for file in server.open_files()}
    assert not server.is_running()
    assert not held
