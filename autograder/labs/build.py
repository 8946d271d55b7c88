"""From a lab's source to its release, with nbgrader's own GenerateAssignment.

``solutions/<lab>/<lab>.py`` -> ``build/source/<lab>/<lab>.ipynb`` (instructor, ignored by git)
-> ``notebooks/<lab>/<lab>.ipynb`` (student, committed). ``hints.toml`` goes along as it is, and so does
a `Page`, which has no answers.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import logging
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearSolutions, SaveCells
from traitlets.config import Config

from autograder.errors import CourseError
from autograder.labs.lab import Lab
from autograder.labs.pages import Page
from course_utils.checks import hints


class NamedStub(ClearSolutions):
    """nbgrader's ClearSolutions with a stub that names the exercise it stands for."""

    def preprocess_cell(self, cell, resources, cell_index):
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        self.code_stub = {"python": f'# YOUR CODE HERE\nraise NotImplementedError("{name}")'}
        return super().preprocess_cell(cell, resources, cell_index)


# Without a database there is nothing to save cells to; the gradebook does that when it meets the lab.
PREPROCESSORS = [
    NamedStub if step is ClearSolutions else step
    for step in GenerateAssignment.preprocessors.default_args[0]
    if step is not SaveCells
]


def write_instructor_notebook(lab: Lab, folder: Path) -> Path:
    """Writes ``folder/<lab>/<lab>.ipynb`` with answers and hidden checks."""
    path = Path(folder) / lab.name / f"{lab.name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(lab.instructor_notebook, path)
    return path


@functools.cache
def release_bytes(lab: Lab) -> bytes:
    """The released notebook as it stands in a file. The same source always gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        write_instructor_notebook(lab, Path(folder) / "source")
        courses = CourseDirectory(
            root=folder, source_directory="source", release_directory="release", assignment_id=lab.name
        )
        told = _Messages()
        converter = GenerateAssignment(
            coursedir=courses, no_database=True, preprocessors=PREPROCESSORS, config=Config(), log=told.log
        )
        try:
            converter.start()
        except Exception as error:
            raise CourseError(f"{lab.source} cannot be released: {told.last_cause() or error}") from error
        written = (Path(folder) / "release" / lab.name / f"{lab.name}.ipynb").read_bytes()
        return written.replace(b"\r\n", b"\n")  # the same bytes on Windows, where nbgrader ends lines in its way


@functools.cache
def release(lab: Lab) -> NotebookNode:
    """The released notebook. Do not change it in place: copy."""
    return nbformat.reads(release_bytes(lab).decode("utf-8"), as_version=4)


@functools.cache
def release_id(lab: Lab) -> str:
    """A name for what students get of a lab: eight letters that change with its bytes. Handouts carry it."""
    return hashlib.sha256(release_bytes(lab)).hexdigest()[:8]


def release_digests(lab: Lab) -> dict[str, str]:
    """Cell -> `digest` of what students get of it. Handouts carry it, too: by it an untouched cell of an earlier
    release is known as such."""
    return {cell["id"]: digest(cell.source) for cell in release(lab).cells}


def digest(source: str) -> str:
    """Sixteen letters that change with a cell's source, blanks around it aside."""
    return hashlib.sha256(source.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answered(lab: Lab, sources: dict[str, str] | None = None) -> NotebookNode:
    """The release with the reference answers in it, or with others where ``sources`` has them, by ``grade_id``."""
    notebook = copy.deepcopy(release(lab))
    sources = {cell.id: cell.source for cell in lab.answers} | (sources or {})
    for cell in notebook.cells:
        cell.source = sources.get(cell["id"], cell.source)
    return notebook


def release_path(lab: Lab) -> Path:
    return lab.root / "notebooks" / lab.name / f"{lab.name}.ipynb"


def build(lab: Lab | Page) -> bool:
    """Builds what students get, and of a lab the instructor notebook too. Returns whether what students get changed."""
    if isinstance(lab, Lab):
        write_instructor_notebook(lab, lab.root / "build" / "source")
    if is_current(lab):
        return False
    for path, content in _released(lab).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return True


def is_current(lab: Lab | Page) -> bool:
    """Whether the committed release equals a fresh build, byte for byte."""
    return all(path.is_file() and path.read_bytes() == content for path, content in _released(lab).items())


def _released(lab: Lab | Page) -> dict[Path, bytes]:
    """What students get, file by file."""
    if isinstance(lab, Page):
        return {lab.path: nbformat.writes(lab.notebook).encode() + b"\n"}
    files = {release_path(lab): release_bytes(lab)}
    if lab.hints_path.is_file():
        files[release_path(lab).with_name(hints.FILE)] = lab.hints_path.read_bytes()
    return files


class _Messages(logging.Handler):
    """Keeps what nbgrader logs, instead of printing it: its exceptions say only "see the above traceback"."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.log = logging.Logger("nbgrader", logging.ERROR)
        self.log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def last_cause(self) -> str:
        """The last line of the last traceback."""
        lines = [t.strip().splitlines()[-1] for t in self.texts if "Traceback" in t]
        return lines[-1] if lines else ""
