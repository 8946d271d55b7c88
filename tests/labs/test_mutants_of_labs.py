"""Each lab's receipt of its mutants tells the truth: those of one exercise are graded anew, of another one whenever the
lab changes; `make slow` grades all. That receipts are of today's labs and say nothing against them is an honesty gate.
"""

from __future__ import annotations

import pytest

from autograder.authoring.mutants import exercise_of_the_day, grade_mutants, read_receipt
from autograder.grading.grader import Grader
from autograder.grading.spread import Here
from autograder.labs.lab import Lab, lab_names


@pytest.fixture(params=lab_names())
def lab(request) -> Lab:
    return Lab(request.param)


@pytest.mark.timeout(900)
def test_the_receipt_tells_the_truth_of_one_exercise(lab: Lab, grader: Grader):
    exercise = exercise_of_the_day(lab)
    outcomes = grade_mutants(lab, [exercise], Here(grader), grader.cache)
    assert outcomes == {exercise.id: read_receipt(lab).get(exercise.id)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_receipt_tells_the_truth(lab: Lab, grader: Grader):
    assert grade_mutants(lab, lab.exercises, Here(grader), grader.cache) == read_receipt(lab)
