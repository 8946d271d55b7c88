"""An answer that always hangs, deaf to the interrupt, costs a worker seconds: not its limit times all its checks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection

import pytest

from autograder.authoring.answered import checks_of, hurried
from autograder.grading.grader import Grader, Row, Submission
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
    own = {cell.id for cell in checks_of(lab, most)}
    right = {cell.id: cell.source for cell in lab.answers}
    hangs = DEAF + ("hang()" if where == "cell" else "\n".join(f"{name} = hang" for name in exercise.names))
    hasty = hurried(lab, LIMIT)

    def graded(answers: dict[str, str], only: Collection[str] | None = None) -> tuple[dict[str, Row], float]:
        began = time.monotonic()
        rows = grader.grade(Submission("student", hasty, Answers(answers)), afresh=True, only=only).rows
        return {row.question: row for row in rows}, time.monotonic() - began

    _, start = graded(right, {min(own)})  # of a process, with all answers, and of a check
    rows, took = graded(right | {most: hangs})
    assert {question for question, row in rows.items() if row.status not in ("passed", "by hand")} == own, rows
    if where == "cell":
        _, reference = graded(right)
        assert took < HANGING * LIMIT + count * (GRACE_SECONDS + reference) + reference
    else:
        # What its checks took; starting a process after one counts. On a busy machine this is steadier than the clock
        # on the wall, from which everybody else's checks would have to be taken off. The first calls use up the time
        # that all checks of the exercise have; the last of them may have begun just before. One that is deaf has its
        # grace, and ends its process, in whose place another one runs all answers.
        took = sum(rows[question].seconds for question in own)
        assert took < HANGING * LIMIT + GRACE_SECONDS + 3 * start, rows
    assert HANGING * lab.check_seconds + count * GRACE_SECONDS < AT_MOST
