"""Who handed in, and what: folders of submissions, read in a child with limits.

Whatever lies in a student's folder, reading it ends, and what goes wrong there is that student's row.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from autograder.errors import CourseError
from autograder.grading.copied import kit_lines
from autograder.grading.submission import Answers, holds, notebook_path, read_answers
from autograder.labs.build import release, release_digests
from autograder.labs.lab import Lab
from autograder.processes.limited import Limited, Stopped
from autograder.sandbox.strangers import few, shortened, visible, visible_name
from course_utils.checks.notebook import Unreadable, read_content

LONGEST_NOTE = 1000  # characters


@dataclass
class Submission:
    """What a student handed in for a lab."""

    student: str
    lab: Lab
    answers: Answers
    path: Path | None = None  # of the notebook, if there is one
    unreadable: str = ""  # why there are no answers

    @classmethod
    def read(cls, student: str, lab: Lab, folder: Path) -> Submission:
        """Reads a folder, in this process: of strangers' folders use a `Reader`. The result can be graded."""
        path, digest = None, ""
        try:
            path = notebook_path(folder, lab)
            content = read_content(path)
            digest = hashlib.sha256(content).hexdigest()
            answers = read_answers(path, lab, content)
        except Unreadable as error:
            return cls.lost(student, lab, str(error), path, digest)
        # they may name files
        answers.notes, answers.digest = few([shortened(visible(n), LONGEST_NOTE) for n in answers.notes]), digest
        return cls(student, lab, answers, path)

    @classmethod
    def lost(cls, student: str, lab: Lab, why: str, path: Path | None, digest: str) -> Submission:
        told = shortened(visible(why), LONGEST_NOTE)
        return cls(student, lab, Answers(notes=[told], digest=digest), path, told)


class Reader:
    """Reads submissions for some labs, in a child with limits. Use as a context manager."""

    def __init__(self, labs: Iterable[Lab]):
        self.labs = {lab.name: lab for lab in labs}
        self.limited = Limited({"read": self._read, "holds": self._holds})

    def start(self) -> None:
        """Looks up, once for all children, what is compared with every notebook; see `Limited.start`."""
        kit_lines()
        for lab in self.labs.values():
            release(lab), release_digests(lab)
        self.limited.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.limited.__exit__()

    def read(self, student: str, lab: Lab, folder: Path) -> Submission:
        """Reads a student's folder. Whatever is in it, the result can be graded.

        Raises:
            CourseError: if the lab itself is at fault.
        """
        try:
            told = self.limited.call("read", lab.name, str(folder))
        except Stopped as error:
            path, digest = folder / f"{lab.name}.ipynb", ""
            with contextlib.suppress(Unreadable):
                digest = hashlib.sha256(read_content(path)).hexdigest()
            why = f"what was handed in cannot be read: {error}"
            return Submission.lost(student, lab, why, path if digest else None, digest)
        path = None if told["path"] is None else Path(told["path"])
        return Submission(student, lab, Answers(**told["answers"]), path, told["unreadable"])

    def holds(self, folder: Path, lab: Lab) -> bool | None:
        """See `submission.holds`."""
        try:
            return self.limited.call("holds", lab.name, str(folder))
        except Stopped:  # its row will tell
            return True

    def _read(self, lab: str, folder: str) -> dict[str, Any]:
        read = Submission.read("", self.labs[lab], Path(folder))
        path = None if read.path is None else str(read.path)
        return {"answers": asdict(read.answers), "path": path, "unreadable": read.unreadable}

    def _holds(self, lab: str, folder: str) -> bool | None:
        return holds(Path(folder), self.labs[lab])


def student_folders(folder: Path) -> dict[str, Path]:
    """Students, and where in a folder of submissions each one's lie; sorted.

    Raises:
        CourseError: if there is no such folder, or nothing in it.
    """
    if folder.is_file():
        raise CourseError(f"{folder} is no folder: take it apart with `course collect LAB {folder}` first")
    if not folder.is_dir():
        raise CourseError(f"the submissions folder {folder} does not exist")
    students = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not students:
        raise CourseError(f"the submissions folder {folder} holds no student's folder (expected <student>/<lab>.ipynb)")
    found: dict[str, Path] = {}
    for path in students:
        name = student_name(path.name)
        other = found.setdefault(name, path)
        if other is not path:
            raise CourseError(f"{folder}: two folders have names that look the same, {name!r}: rename one of them")
    return found


def student_name(folder: str) -> str:
    """What grades call the student to whom a folder of that name belongs."""
    # a name that is not UTF-8, from an old archive say, could be written nowhere; macOS takes accents off letters
    name = visible_name(os.fsencode(folder).decode("utf-8", "backslashreplace"))
    return unicodedata.normalize("NFC", name)


def find_submissions(lab: Lab, folder: Path) -> list[Submission]:
    """The submissions in a folder, all read; `student_folders` says of errors."""
    with Reader([lab]) as reader:
        return [reader.read(student, lab, path) for student, path in student_folders(folder).items()]
