"""An answer that always hangs, deaf to the interrupt, costs a worker seconds: not its limit times all its checks."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from autograder.authoring.answered import hurried
from autograder.grading.grader import Grader, Submission
from autograder.grading.submission import Answers
from autograder.labs.lab import Lab, lab_names
from autograder.processes.job import GRACE_SECONDS, HANGING

AT_MOST = 30
"""Seconds of a worker, for an answer that hangs wherever it can."""

LIMIT = 3.0  # for a check in this test; it hangs where it would with a longer one

DEAF = """import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
def hang(*_, **__):
    while True:
        time.sleep(9)
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "where"), [(lab_names()[0], "cell"), *((name, "call") for name in lab_names())])
def test_an_answer_that_always_hangs_costs_seconds(name: str, where: str, grader: Grader):
    lab = Lab(name)
    checks = Counter(lab.exercise_of(cell).id for cell in lab.questions if cell.kind == "check")
    (most, count), *_ = checks.most_common()
    (exercise,) = (cell for cell in lab.exercises if cell.id == most)
    right = {cell.id: cell.source for cell in lab.answers}
    hangs = DEAF + ("hang()" if where == "cell" else "\n".join(f"{name} = hang" for name in exercise.names))

    def seconds(answers: dict[str, str]) -> float:
        began = time.monotonic()
        graded = grader.grade(Submission("student", hurried(lab, LIMIT), Answers(answers)), afresh=True)
        rows = [row for row in graded.rows if row.question in own]
        assert {row.status == "passed" for row in rows} == {answers is right}, rows
        assert all(row.status in ("passed", "by hand") for row in graded.rows if row.question not in own), graded.rows
        return time.monotonic() - began

    own = {cell.id for cell in lab.questions if cell.kind == "check" and lab.exercise_of(cell).id == most}
    reference = seconds(right)
    # each call that is deaf has its grace, and ends its process, in whose place another one runs all answers
    assert seconds(right | {most: hangs}) < HANGING * LIMIT + count * (GRACE_SECONDS + reference) + reference
    assert HANGING * lab.check_seconds + count * GRACE_SECONDS < AT_MOST
