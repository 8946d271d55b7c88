"""The whole way, outside the checkout: handed out, unpacked, installed, answered, run, collected, graded.

The environment that `start.py` finds lends this one's packages (see `borrowed`), so that torch is not downloaded; the
kit itself is installed from the handout's wheel, and what only graders need is not there.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import pytest
from borrowed import GRADING, borrowed_environment, outside
from click.testing import CliRunner

from autograder import ROOT
from autograder.cli import main
from autograder.grading.grader import Grader, Submission
from autograder.handout.make import NAME, make_handout
from autograder.labs.lab import Lab, lab_names

LABS = lab_names(ROOT)
EXECUTE = "from nbclient.cli import main; main()"  # the command jupyter-execute


@dataclass
class Student:
    """What a student has: the unpacked folder, installed by ``start.py``."""

    folder: Path
    python: Path

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, self.folder / "start.py", *arguments)

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        given = list(map(str, command))
        return subprocess.run(
            given, cwd=self.folder.parent, env=outside(), capture_output=True, text=True, check=False, encoding="utf-8"
        )

    def notebook(self, name: str) -> Path:
        return self.folder / "notebooks" / name / f"{name}.ipynb"

    def answer(self, name: str) -> bytes:
        """Types the reference answers into a lab's notebook. Returns what it was before."""
        path = self.notebook(name)
        before = path.read_bytes()
        notebook = nbformat.reads(before.decode(), as_version=4)
        answers = {cell.id: cell.source for cell in Lab(name).answers}
        for cell in notebook.cells:
            cell.source = answers.get(cell["id"], cell.source)
        nbformat.write(notebook, path)
        return before


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    made = make_handout([Lab(name) for name in LABS], ROOT, tmp_path_factory.mktemp("instructor"))
    home = tmp_path_factory.mktemp("Zuhause bei Jörg")
    with zipfile.ZipFile(made.archive) as archive:
        archive.extractall(home)
    python = borrowed_environment(home / NAME / ".venv")
    student = Student(home / NAME, python)
    installed = student.start("data")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "shapes" in installed.stdout
    return student


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


def test_the_kit_is_the_wheels_and_the_graders_packages_are_not_here(student: Student) -> None:
    asks = "import autograder, course_utils, importlib.util as u, json\n"
    asks += "print(json.dumps([autograder.__file__, course_utils.__file__, str(autograder.ROOT), "
    asks += f"[n for n in {GRADING} if u.find_spec(n)]]))"
    done = student.run(student.python, "-c", asks)
    kit, helpers, root, there = json.loads(done.stdout)
    assert Path(kit).is_relative_to(student.folder) and Path(helpers).is_relative_to(student.folder)
    assert not there
    assert root == str(student.folder.parent), "where it was asked, for there is no handout around it"


@pytest.mark.parametrize("arguments", [["grade", "x", "--submissions", "y"], ["gates", "x"], ["handout", "--to", "x"]])
def test_an_instructors_command_says_what_it_needs(student: Student, arguments: list[str]) -> None:
    done = student.run(student.python, "-m", "autograder.cli", *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "instructors" in done.stderr or "quantization-course[grading]" in done.stderr


def test_doctor_finds_nothing_to_mend(student: Student) -> None:
    done = student.start("doctor")
    assert "everything that is needed is here" in done.stdout, done.stdout
    assert "sandbox" not in done.stdout


def test_the_start_page_is_made_anew(student: Student) -> None:
    done = student.run(
        student.python,
        "-c",
        "import sys; from pathlib import Path; from autograder.labs.pages import write_start_page\n"
        "write_start_page(Path(sys.argv[1])); write_start_page(Path(sys.argv[1]))",
        student.folder,
    )
    assert done.returncode == 0, done.stderr
    page = (student.folder / "notebooks" / "start.ipynb").read_text(encoding="utf-8")
    assert all(f"{name}/{name}.ipynb" in page for name in LABS)
    told = json.loads(student.notebook(LABS[0]).read_text(encoding="utf-8"))["metadata"]["language_info"]
    assert told["version"] and told["codemirror_mode"], "else JupyterLab would call an untouched notebook changed"


@pytest.mark.parametrize("name", ["01_floating_point", "03_quantized_layer", "06_yolo_minifloat"])
def test_the_checks_of_a_lab_pass_from_the_wheel(student: Student, name: str) -> None:
    """One of each kind, with the pinned versions: numbers alone, a trained network, a detector."""
    untouched = student.answer(name)
    done = student.start("--check", name)
    student.notebook(name).write_bytes(untouched)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [LABS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in LABS[1:])])
def test_untouched_is_worth_nothing(student: Student, grader: Grader, name: str) -> None:
    graded = grader.grade(Submission.read("nobody", Lab(name), student.notebook(name).parent))
    assert graded.score == 0
    assert {row.status for row in graded.rows} <= {"not attempted"}


@pytest.mark.slow
@pytest.mark.parametrize("name", LABS)
def test_full_circle(student: Student, tmp_path: Path, name: str) -> None:
    """The reference answers typed in, all cells run, saved, handed in, collected, graded: all points."""
    lab, path = Lab(name), student.notebook(name)
    untouched = student.answer(name)
    done = student.run(student.python, "-c", EXECUTE, "--inplace", "--timeout=600", path)
    assert done.returncode == 0, done.stderr[-2000:]
    handed_in = tmp_path / "from the LMS" / "jörg"
    handed_in.mkdir(parents=True)
    shutil.copy(path, handed_in)
    path.write_bytes(untouched)
    inbox, grades = tmp_path / "inbox", tmp_path / "grades"
    for arguments in (
        ["collect", name, handed_in.parent, "--to", inbox],
        ["grade", name, "--submissions", inbox, "--output", grades],
    ):
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    with (grades / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lost = [r for r in rows if r["status"] != "by hand" and r["score"] != r["max_score"]]
    assert not lost
    assert sum(float(r["score"]) for r in rows) == lab.max_score


@pytest.mark.slow
def test_the_demos_run(student: Student) -> None:
    path = student.folder / "notebooks" / "demos.ipynb"
    done = student.run(student.python, "-c", EXECUTE, "--timeout=600", path)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_notebook_alone_fetches_the_package(tmp_path: Path) -> None:
    """As on Colab: a kernel without the kit, and the wheel on the web (here: this machine's own)."""
    lab = Lab("01_floating_point")
    served = tmp_path / "web"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(served))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        made = make_handout([lab], ROOT, tmp_path / "out", f"http://127.0.0.1:{server.server_port}/")
        served.mkdir()
        (wheel,) = made.folder.glob("*.whl")
        shutil.copy(wheel, served)
        alone = Student(tmp_path / "kaggle", borrowed_environment(tmp_path / "env"))
        alone.notebook(lab.name).parent.mkdir(parents=True)
        shutil.copy(made.folder / "notebooks" / lab.name / f"{lab.name}.ipynb", alone.notebook(lab.name))
        assert alone.run(alone.python, "-c", "import course_utils").returncode, "it is not here yet"
        alone.answer(lab.name)
        done = alone.run(alone.python, "-c", EXECUTE, "--inplace", "--timeout=600", alone.notebook(lab.name))
        server.shutdown()
    assert done.returncode == 0, done.stderr[-2000:]
    graded = alone.notebook(lab.name).parent
    with Grader() as grader:
        assert grader.grade(Submission.read("somebody", lab, graded)).score == lab.max_score
