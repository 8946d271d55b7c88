"""Time limits: a busy machine costs nobody points, and no answer gets itself more time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mini_course import MINI, write_mini

from autograder.authoring.answered import reference_answers
from autograder.grading.grader import Grader, Submission
from autograder.processes.clock import LONGEST, Clock, TimeUp, in_queue

pytestmark = [
    pytest.mark.timeout(300, method="thread"),  # the other method takes the alarm that is the subject here
    pytest.mark.skipif(in_queue("self") is None, reason="this system does not tell how long processes queue"),
]

HOGS = 4 * (os.cpu_count() or 1)


def spin() -> None:
    while True:
        pass


def spin_beside_hogs() -> None:
    for _ in range(HOGS):
        if os.fork() == 0:
            spin()
    spin()


@contextlib.contextmanager
def children(*lives: Callable[[], None]) -> Iterator[list[int]]:
    """Processes, each the leader of a group, that end with the block and take theirs along."""
    started = []
    try:
        for live in lives:
            if (pid := os.fork()) == 0:
                os.setsid()
                live()
            started.append(pid)
        time.sleep(0.5)
        yield started
    finally:
        for pid in started:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def compute(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_others_take_of_the_machine_does_not_count():
    clock, began = Clock(), time.perf_counter()
    with children(*[spin] * HOGS), clock.limit(3):
        compute(0.5)
    assert 0.4 < clock.counted < 1.5
    assert time.perf_counter() - began > 2 * clock.counted, "the machine was busy"


def test_what_others_take_of_a_candidates_time_does_not_count():
    with children(spin) as (candidate,):
        clock = Clock()
        clock.candidate = candidate
        with children(*[spin] * HOGS), clock.limit(20):
            time.sleep(3)
    assert clock.counted < 2.5


def test_an_answer_that_keeps_the_cores_busy_itself_waits_on_its_own_account():
    with children(spin_beside_hogs) as (candidate,):
        clock = Clock()
        clock.candidate = candidate
        with clock.limit(20):
            time.sleep(3)
    assert clock.counted > 2.5


def test_waiting_counts_whatever_the_load_average_says(monkeypatch):
    """Children that wait for one another in `vfork` raise it, and take nothing."""
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 1000.0, 1000.0))
    clock, began = Clock(), time.perf_counter()
    with pytest.raises(TimeUp), clock.limit(0.2):
        time.sleep(60)
    assert 0.2 <= clock.counted < 1
    assert time.perf_counter() - began < LONGEST * 0.2 + 1


ENDLESS = MINI.replace("expect_equal(double(3), 6,", "expect_equal(sum(range(double(3))), 15,").replace(
    "check_seconds: 2", "check_seconds: 0.5"
)


def test_a_check_that_computes_without_end_in_one_call_costs_its_exercise_only(tmp_path: Path, grader: Grader):
    lab = write_mini(tmp_path, ENDLESS)
    answers = reference_answers(lab)
    answers.sources["double"] = "def double(x):\n    return 10 ** 10"
    rows = {row.question: row for row in grader.grade(Submission("ann", lab, answers)).rows}
    assert rows["check_double"].status == "timeout"
    assert "so large or so odd" in rows["check_double"].message
    assert rows["check_counter"].status == rows["check_counter_gradient"].status == "passed"


CHECK = MINI[
    MINI.index('# %% nbgrader={"grade_id": "check_double"') : MINI.index('# %% nbgrader={"grade_id": "counter"')
]


@pytest.mark.parametrize("way", ["pass", "try: time.sleep(60)\n        except BaseException: pass"])
def test_an_answer_that_hangs_in_every_check_is_not_waited_for_in_each(way, tmp_path: Path, grader: Grader):
    more = "".join(CHECK.replace("check_double", f"check_double_{n}") for n in range(8))
    lab = write_mini(tmp_path, MINI.replace(CHECK, CHECK + more).replace("check_seconds: 2", "check_seconds: 4"))
    answers = reference_answers(lab)
    answers.sources["double"] = f"import time\ndef double(x):\n    while True:\n        {way}"
    graded = grader.grade(Submission("ann", lab, answers))
    hung = [row for row in graded.rows if row.question.startswith("check_double")]
    assert {row.status for row in hung} == {"timeout"}
    assert sum(row.seconds for row in hung) < 2 * 4 + 5
    assert [row.status for row in graded.rows if row.question.startswith("check_counter")] == ["passed", "passed"]


def test_an_answers_cell_that_hangs_is_run_once(tmp_path: Path, grader: Grader):
    lab = write_mini(tmp_path)
    answers = reference_answers(lab)
    answers.sources["double"] = "print('begun')\nwhile True: pass"
    answers.sources["counter"] = "import os\nclass Counter:\n    def __init__(self, start): os._exit(1)"
    graded = grader.grade(Submission("ann", lab, answers))
    assert [row.status for row in graded.rows if row.question != "why"] == ["error", "crashed", "crashed"]
    assert sum(row.seconds for row in graded.rows) < 2
