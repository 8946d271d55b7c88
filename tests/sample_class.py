"""Makes a sample class for a lab, by rule, from the lab's own answer variants.

`sample_class` writes one submission per student; each student stands for one thing that happens in real classes, and
comes with the score and statuses that are fair. ``python tests/sample_class.py FOLDER`` writes it for every lab.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder import ROOT
from autograder.authoring.answered import points_of, together
from autograder.labs.build import answered, release
from autograder.labs.lab import Lab, lab_names


@dataclass
class Student:
    """A submission and what is fair for it.

    Attributes:
        lost: exercises whose points it must not get, with the status that one of their questions must have.
        about: what this student stands for.
    """

    name: str
    about: str
    content: bytes
    lost: dict[str, str] = field(default_factory=dict)
    at_most: bool = False  # a wrong variant may keep some of its exercise's checks

    def fair_score(self, lab: Lab) -> float:
        return lab.max_score - sum(points_of(lab, exercise) for exercise in self.lost)


def sample_class(lab: Lab) -> list[Student]:
    """The class: at least twelve students.

    Wrong answers of every other exercise share a student: right answers take most of what a grading takes, and so each
    of them is run beside wrong ones once or twice.
    """
    first, last = lab.exercises[0].id, lab.exercises[-1].id
    everything = {c.id: "not attempted" for c in lab.exercises}
    wrong = lab.variants(right=False)
    students = [
        _student("ada", "all right", answered(lab)),
        _student("blaise", "half of the exercises answered", _half(lab), _second_half(lab)),
        _student("edsger", "nothing answered", copy.deepcopy(release(lab)), everything),
        _student("grace", "right answers, a check cell deleted", _without_check(lab)),
        _student("kurt", "right answers, an exercise cell twice", _with_duplicate(lab)),
        _student("loki", "wrong answer, check cell edited to pass", *_edited_check(lab)),
        _student("max", "syntax error in the first exercise", *_replaced(lab, first, "def broken(:\n", "error")),
        _student("nina", "endless loop in the last exercise", *_replaced(lab, last, _endless(lab, last), "timeout")),
        _student("otto", "the first exercise ends the process", *_replaced(lab, first, _exits(lab, first), "crashed")),
        _student("petra", "the last exercise's cell deleted", _without_exercise(lab, last), {last: "missing"}),
        Student("quark", "not a notebook at all", b"\x89PNG\r\n\x1a\n", dict.fromkeys(everything, "unreadable")),
    ]
    right = {v.exercise: v.source for v in reversed(lab.variants(right=True))}  # the first ones, as gate 5 begins
    students.append(_student("bella", "all right, every exercise written another way", answered(lab, right)))
    one_each = list({v.exercise: v for v in wrong}.values())
    halves = one_each[::2], one_each[1::2]
    for number, variants in enumerate(group for half in halves for group in together(lab, half)):
        notebook = answered(lab, {v.exercise: v.source for v in variants})
        lost, about = {v.exercise: "failed" for v in variants}, "; ".join(v.about for v in variants)
        students.append(_student(f"wrong{number:02}", f"wrong: {about}", notebook, lost, at_most=True))
    return sorted(students, key=lambda s: s.name)


def write_sample_class(lab: Lab, folder: Path) -> list[Student]:
    """Writes ``folder/<student>/<lab>.ipynb`` for every student."""
    students = sample_class(lab)
    for student in students:
        path = Path(folder) / student.name / f"{lab.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(student.content)
    return students


def _student(name: str, about: str, notebook: NotebookNode, lost: dict[str, str] | None = None, **more) -> Student:
    return Student(name, about, nbformat.writes(notebook).encode("utf-8"), lost or {}, **more)


def _replaced(lab: Lab, exercise: str, source: str, status: str) -> tuple[NotebookNode, dict[str, str]]:
    return answered(lab, {exercise: source}), {exercise: status}


def _second_half(lab: Lab) -> dict[str, str]:
    return {c.id: "not attempted" for c in lab.exercises[len(lab.exercises) // 2 :]}


def _half(lab: Lab) -> NotebookNode:
    stubs = {c["id"]: c.source for c in release(lab).cells}
    return answered(lab, {exercise: stubs[exercise] for exercise in _second_half(lab)})


def _without_check(lab: Lab) -> NotebookNode:
    notebook = answered(lab)
    check = next(c.id for c in lab.cells if c.kind == "check")
    notebook.cells = [c for c in notebook.cells if c["id"] != check]
    return notebook


def _without_exercise(lab: Lab, exercise: str) -> NotebookNode:
    notebook = answered(lab)
    notebook.cells = [c for c in notebook.cells if c["id"] != exercise]
    return notebook


def _with_duplicate(lab: Lab) -> NotebookNode:
    notebook = answered(lab)
    place = next(i for i, c in enumerate(notebook.cells) if c["id"] == lab.exercises[0].id)
    twin = copy.deepcopy(notebook.cells[place])
    twin["id"] = "a-copy"
    notebook.cells.insert(place, twin)
    return notebook


def _edited_check(lab: Lab) -> tuple[NotebookNode, dict[str, str]]:
    check = next(c for c in lab.cells if c.kind == "check")
    exercise = lab.exercise_of(check).id
    notebook = answered(lab, {exercise: _returns_none(lab, exercise)})
    for cell in notebook.cells:
        if cell["id"] == check.id:
            cell.source = "print('passed')"
            cell.metadata["nbgrader"]["points"] = 1000
    return notebook, {exercise: "failed"}


def _definition(lab: Lab, exercise: str, body: str) -> str:
    """An answer that defines every name of the exercise as a function with this body."""
    cell = next(c for c in lab.exercises if c.id == exercise)
    return "\n\n".join(f"def {name}(*args, **kwargs):\n    {body}" for name in cell.names)


def _returns_none(lab: Lab, exercise: str) -> str:
    return _definition(lab, exercise, "return None")


def _endless(lab: Lab, exercise: str) -> str:
    return _definition(lab, exercise, "while True: pass")


def _exits(lab: Lab, exercise: str) -> str:
    return _definition(lab, exercise, "import os; os._exit(0)")


def main() -> None:
    for name in lab_names(ROOT):
        students = write_sample_class(Lab(name), Path(sys.argv[1]))
        print(f"{name}: {len(students)} students in {sys.argv[1]}")


if __name__ == "__main__":
    main()
