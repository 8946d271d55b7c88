"""Every lab found in solutions/ passes every honesty gate. There is no list to maintain."""

from __future__ import annotations

import pytest

from autograder.authoring.gates import GATES
from autograder.grading.grader import Grader
from autograder.labs.lab import Lab, lab_names

LABS = {name: Lab(name) for name in lab_names()}


def test_there_are_labs():
    assert LABS


@pytest.mark.timeout(1800)  # a gate grades a hundred submissions and more
@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
@pytest.mark.parametrize("lab", LABS.values(), ids=LABS.keys())
def test_gate(lab: Lab, gate, grader: Grader):
    verdicts = list(gate(lab, grader))
    assert verdicts, "a gate that looked at nothing holds nothing"
    broken = [f"{v.subject}: {v.message}" for v in verdicts if not v.holds]
    assert not broken, f"{lab.name}, {verdicts[0].gate}:\n" + "\n".join(broken)
