"""For plain nbgrader: rebuilds a submission from the release before anything of it runs.

``nbgrader autograde`` runs a student's whole notebook, with the checks' sources put back. With this step first, only
the answers are the student's: every other cell is the release's, in its order, once each.
"""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from autograder.grading.submission import find_answer
from autograder.labs.build import digest
from autograder.labs.cell import Cell


class RebuildFromRelease(NbGraderPreprocessor):
    """Puts the answers of a submission, by ``grade_id``, into a fresh copy of the released notebook."""

    release_directory = Unicode("release", help="Where released notebooks lie, below the course's root.").tag(
        config=True
    )
    root = Unicode(".", help="The course's root.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """
        Raises:
            FileNotFoundError: if the assignment was not released; the message says where it was looked for.
        """
        about = resources["nbgrader"]
        path = Path(self.root, self.release_directory, about["assignment"], f"{about['notebook']}.ipynb")
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: release the assignment first (nbgrader generate_assignment)")
        rebuilt, notes = rebuild(nbformat.read(path, as_version=4), nb)
        for note in notes:
            self.log.warning("%s: %s", about["student"] if "student" in about else about["notebook"], note)
        return rebuilt, resources


def rebuild(release: NotebookNode, submission: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The release with the submission's answers in it, and what was odd about them.

    A cell whose answer is missing stays as released.
    """
    rebuilt, notes = copy.deepcopy(release), []
    known = {_grade_id(cell): digest(cell.source) for cell in release.cells if _grade_id(cell)}
    for cell in rebuilt.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("solution") or about.get("task"):
            kind = "exercise" if cell.cell_type == "code" and not about.get("grade") else "written"
            wanted = Cell(_grade_id(cell), kind, cell.source, cell.cell_type == "code")
            answer = find_answer(wanted, submission.cells, known, notes)
            cell.source = cell.source if answer is None else answer
    return rebuilt, notes


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")
