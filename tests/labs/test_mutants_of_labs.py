"""Each lab's receipt of its mutants tells the truth: some of every exercise are graded anew, others whenever the lab
changes; `make slow` grades all. That receipts are of today's labs and say nothing against them is an honesty gate.
"""

from __future__ import annotations

import pytest

from autograder.authoring.mutants import grade_mutants, mutants_of, read_receipt, sample_of_the_day
from autograder.grading.grader import Grader
from autograder.grading.spread import Here
from autograder.labs.lab import Lab, lab_names


@pytest.fixture(params=lab_names())
def lab(request) -> Lab:
    return Lab(request.param)


@pytest.mark.timeout(900)
def test_the_receipt_tells_the_truth_of_some_of_every_exercise(lab: Lab, grader: Grader):
    receipt, sample = read_receipt(lab), sample_of_the_day(lab)
    assert {i: told.mutants for i, told in receipt.items()} == {e.id: len(mutants_of(e)) for e in lab.exercises}
    outcomes = grade_mutants(lab, lab.exercises, Here(grader), grader.cache, only=sample)
    assert outcomes == {i: told.among(sample[i]) for i, told in receipt.items()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_receipt_tells_the_truth(lab: Lab, grader: Grader):
    assert grade_mutants(lab, lab.exercises, Here(grader), grader.cache) == read_receipt(lab)
