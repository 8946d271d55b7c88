"""Every student of every lab's sample class gets the fair score, with a status and a message that say why."""

from __future__ import annotations

import pytest

from autograder.authoring.answered import checks_of
from autograder.labs.lab import Lab, lab_names


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", lab_names())
def test_everybody_gets_the_fair_score(name: str, graded_class):
    lab, students = Lab(name), graded_class(name)
    own = {exercise.id: {check.id for check in checks_of(lab, exercise.id)} for exercise in lab.exercises}
    assert len(students) >= 12
    for student, graded in students:
        fair = student.fair_score(lab)
        who = f"{student.name} ({student.about})"
        if student.at_most:  # a wrong variant may still pass some checks of its exercise
            assert fair <= graded.score, who
            kept = {i for i in student.lost if all(r.status == "passed" for r in graded.rows if r.question in own[i])}
            assert not kept, who
        else:
            assert graded.score == fair, who
        for row in graded.rows:
            if row.question in {q.id for q in lab.questions if q.kind == "written"}:
                continue
            exercise = lab.exercise_of(next(c for c in lab.cells if c.id == row.question)).id
            if exercise not in student.lost:
                assert row.status == "passed", f"{who}: {row.question}"
            elif row.status != "passed":
                assert student.at_most or row.status == student.lost[exercise], f"{who}: {row.question} is {row.status}"
                assert row.message, f"{who}: {row.question} lost points without a word"
