"""Where each lab stands between what was handed in and what was handed back, and what is to be done next."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.grading.reading import student_name
from autograder.labs.lab import Lab
from autograder.records.export import Points
from autograder.records.feedback import has_current_page
from autograder.records.gradebook import lab_version, nbgrader_id
from autograder.records.origins import without_notebook
from autograder.records.roster import Roster
from autograder.records.rows import GRADEBOOK, Records
from course_utils.checks.notebook import MAX_BYTES

EXPORTED = "exported.json"  # lab -> student -> the points that left in a file


@dataclass
class Standing:
    """Students of a lab, by how far they are."""

    lab: str
    built: bool
    collected: set[str] = field(default_factory=set)
    graded: set[str] = field(default_factory=set)
    ungraded: set[str] = field(default_factory=set)  # collected, but not graded as it lies there
    outdated: set[str] = field(default_factory=set)  # graded with another version of the lab
    waiting: int = 0  # answers
    late: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)  # of the roster, and nothing was handed in
    feedback: set[str] = field(default_factory=set)  # has a page that says what the gradebook says
    exported: set[str] = field(default_factory=set)  # the points that count have left in a file

    @property
    def next(self) -> list[str]:
        """Commands, in the order in which they are due."""
        steps = []
        if not self.built:
            steps.append(f"course build {self.lab}")
        if not (self.collected or self.graded):
            return [*steps, f"course collect {self.lab} ARCHIVE"]
        if self.ungraded or self.outdated:
            return [*steps, f"course grade {self.lab}"]
        if self.waiting:
            return [*steps, f"course mark {self.lab}"]
        if self.graded - self.feedback:
            steps.append(f"course feedback {self.lab}")
        if self.graded - self.exported:
            steps.append(f"course export {self.lab} --to SYSTEM --file FILE")
        return steps


def standing(lab: Lab, records: Records | None, submissions: Path, output: Path, roster: Roster | None) -> Standing:
    """
    Args:
        submissions: where notebooks are collected; what nbgrader's exchange brought is in ``output``.
    """
    found = Standing(lab.name, built=(lab.root / "build" / "source" / lab.name).is_dir())
    notebooks = {
        (roster.student(name) if roster else None) or name: path
        for name, path in _notebooks(submissions, lab.name).items()
    }
    lost = without_notebook(submissions, lab.name, notebooks.keys(), roster)
    found.collected = {*notebooks, *lost}
    if records is not None and lab.name in records.labs:
        rows = records.of(lab.name)
        found.graded = set(rows["student"])
        found.waiting = int((rows["status"] == "by hand").sum())
        own = {student: about for (student, name), about in records.submissions.items() if name == lab.name}
        version = lab_version(lab)
        found.outdated = {student for student, about in own.items() if about.version != version}
        found.late = {student for student, about in own.items() if about.late}
        found.feedback = {s for s in found.graded if has_current_page(records, s, lab.name, output)}
        found.exported = _exported(output, Points(records, {}), lab.name)
    for student, notebook in notebooks.items():
        graded = Path(output) / "submitted" / nbgrader_id(student) / lab.name / notebook.name
        if student not in found.graded or not _same(notebook, graded):
            found.ungraded.add(student)
    found.ungraded |= lost.keys() - found.graded
    if roster is not None:
        found.absent = set(roster.absent(found.collected | found.graded))
    return found


def _same(notebook: Path, graded: Path) -> bool:
    """Whether a notebook was graded as it lies there. Of one that is too large to be read there is no copy."""
    if notebook.stat().st_size > MAX_BYTES:
        return not graded.is_file()
    return graded.is_file() and filecmp.cmp(notebook, graded, shallow=False)


def _notebooks(submissions: Path, lab: str) -> dict[str, Path]:
    """Student -> notebook, of a folder with a folder for each."""
    places = [f"*/{lab}.ipynb", f"*/{lab}/{lab}.ipynb"]
    paths = [path for place in places for path in sorted(Path(submissions).glob(place))]
    return {student_name(path.relative_to(submissions).parts[0]): path for path in reversed(paths)}


def note_export(output: Path, points: Points) -> None:
    """Notes which points have left in a file; what is known of other labs stays."""
    if not (Path(output) / GRADEBOOK).is_file():  # a folder of copies: nobody asks it where a lab stands
        return
    path = Path(output) / EXPORTED
    new = {lab: {student: points.cell(student, lab) for student in points.students} for lab in points.labs}
    path.write_text(json.dumps(_read(path) | new, ensure_ascii=False, indent=1), encoding="utf-8")


def _exported(output: Path, points: Points, lab: str) -> set[str]:
    left = _read(Path(output) / EXPORTED).get(lab, {})
    return {student for student, told in left.items() if told and points.cell(student, lab) == told}


def _read(path: Path) -> Mapping[str, dict[str, str]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
