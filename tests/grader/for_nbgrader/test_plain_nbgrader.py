"""The sandboxed kernel and the safe preprocessor under plain ``nbgrader autograde``, in earnest."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook

from autograder import ROOT
from autograder.for_nbgrader.plain import rebuild
from autograder.grading.grader import Grader
from autograder.sandbox import walls

CONFIG = """
from nbgrader.converters import Autograde
from autograder.for_nbgrader.plain import RebuildFromRelease
c = get_config()  # noqa: F821  given by whoever reads this file
c.Autograde.sanitize_preprocessors = [RebuildFromRelease, *Autograde.sanitize_preprocessors.default_args[0]]
c.Execute.kernel_name = "sandboxed"
c.Execute.shutdown_kernel = "immediate"
"""

ATTACK = """
import os, socket, subprocess
from pathlib import Path

def attempt(reach, *arguments):
    try:
        return f"REACHED {reach(*arguments)}"
    except OSError as refused:
        return f"refused: {type(refused).__name__}"

told = [
    attempt(socket.create_connection, ("127.0.0.1", PORT), 2),
    attempt(socket.create_connection, ("192.0.2.1", 80), 2),
    attempt(lambda: Path("SECRET").read_text()),
    attempt(os.listdir, "ROOT/submitted"),
    attempt(lambda: Path("SECRET").write_text("pwned")),
    attempt(lambda: Path("pwned").write_text("pwned")),
    attempt(subprocess.run, ["true"]),
]
print(told, os.getuid(), sorted(os.environ), Path("data.txt").read_text(), sum("/" in p for p in os.listdir("/")))

def f(x):
    return 2 * x
"""


def graded(grade_id: str, **more: object) -> dict:
    about = {"schema_version": 3, "grade": False, "solution": False, "locked": True, "task": False}
    return {"nbgrader": about | {"grade_id": grade_id} | more}


def source_notebook():
    stub = "def f(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    check = "assert f(1) == 2\n### BEGIN HIDDEN TESTS\nassert f(5) == 10\n### END HIDDEN TESTS"
    notebook = new_notebook(
        cells=[
            new_code_cell("FACTOR = 2", metadata=graded("given")),
            new_code_cell(stub, metadata=graded("f", solution=True, locked=False)),
            new_code_cell(check, metadata=graded("check_f", grade=True, points=3)),
            new_markdown_cell("Because.", metadata=graded("why", grade=True, solution=True, points=1, locked=False)),
        ]
    )
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def nbgrader(root: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    told = {"PATH": path, "JUPYTER_PATH": str(root / "jupyter"), "GRADEBOOK_PASSWORD": "canary"}
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=root, env=os.environ | told, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_the_provisioner_is_installed():
    found = entry_points(group="jupyter_client.kernel_provisioners")
    assert "sandboxed" in found.names, "install the course again: make setup"


@pytest.mark.timeout(600)
def test_autograde_refuses_the_network_and_files_outside(tmp_path, grader: Grader):
    walls = grader.walls()
    if "network" not in walls or "files" not in walls:
        pytest.skip(f"NOT TRIED: this system's sandbox has only {', '.join(walls)}")
    shutil.copytree(ROOT / "autograder" / "for_nbgrader" / "kernels", tmp_path / "jupyter" / "kernels")
    (tmp_path / "nbgrader_config.py").write_text(CONFIG)
    (tmp_path / "secret.txt").write_text("canary")
    (tmp_path / "source" / "ps1").mkdir(parents=True)
    nbformat.write(source_notebook(), tmp_path / "source" / "ps1" / "p.ipynb")
    nbgrader(tmp_path, "generate_assignment", "ps1", "--create")

    listener = socket.create_server(("127.0.0.1", 0))
    places = {"PORT": str(listener.getsockname()[1]), "SECRET": str(tmp_path / "secret.txt"), "ROOT": str(tmp_path)}
    attack = ATTACK
    for name, place in places.items():
        attack = attack.replace(name, place)
    for student, answer in {"ann": "def f(x):\n    return 2 * x", "mallory": attack}.items():
        folder = tmp_path / "submitted" / student / "ps1"
        folder.mkdir(parents=True)
        notebook = nbformat.read(tmp_path / "release" / "ps1" / "p.ipynb", 4)
        notebook.cells[1].source = answer
        if student == "mallory":
            notebook.cells[0].source = "raise SystemExit"
            notebook.cells[2].source = "pass"
            notebook.cells.append(new_code_cell("f = lambda x: 0"))
            (folder / "autograder").mkdir()  # must not be imported before the walls stand
            (folder / "autograder" / "__init__.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
        (folder / "data.txt").write_text("of the student's own")
        nbformat.write(notebook, folder / "p.ipynb")
    nbgrader(tmp_path, "autograde", "ps1")
    listener.settimeout(0.1)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()

    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        scores = {s.student.id: s.score for s in gradebook.find_assignment("ps1").submissions}
    autograded = nbformat.read(tmp_path / "autograded" / "mallory" / "ps1" / "p.ipynb", 4)
    assert scores == {"ann": 3.0, "mallory": 3.0}, autograded
    told = json.dumps(autograded.cells[1].outputs)
    assert told.count("refused") == 7, told
    assert "REACHED" not in told
    assert "of the student's own" in told
    assert "GRADEBOOK_PASSWORD" not in told
    assert len(autograded.cells) == 4
    assert (tmp_path / "secret.txt").read_text() == "canary"
    assert not list(tmp_path.rglob("*pwned*"))


LOOK = """
import os
folders = [folder for folder, *_ in os.walk("/") if not folder.startswith(("/proc", "/tmp"))]
def link(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
sockets = [number for number in range(64) if link(number).startswith("socket:")]
print(os.path.exists("FOLDER"), [f for f in folders if os.access(f, os.W_OK)], len(sockets) >= 5)
"""


@pytest.fixture
def manager(tmp_path: Path, grader: Grader) -> Iterator[KernelManager]:
    """Of a sandboxed kernel, which runs."""
    standing = grader.walls()
    if "files" not in standing:
        pytest.skip(f"NOT TRIED: this system's sandbox has only {', '.join(standing)}")
    specs = KernelSpecManager(kernel_dirs=[str(ROOT / "autograder" / "for_nbgrader" / "kernels")])
    manager = KernelManager(kernel_name="sandboxed", kernel_spec_manager=specs)
    tmp_path.chmod(0o755)  # inside, the kernel is nobody
    manager.start_kernel(cwd=str(tmp_path))
    yield manager
    manager.shutdown_kernel(now=True)


def told(manager: KernelManager, source: str, last: str = "") -> str:
    """What a kernel prints of a cell, or the error; then it is given the ``last`` cell."""
    client, parts = manager.blocking_client(), []
    client.start_channels()
    client.wait_for_ready(timeout=120)
    client.execute_interactive(
        source,
        timeout=60,
        output_hook=lambda m: parts.append(m["content"].get("text", m["content"].get("evalue", ""))),
    )
    client.execute(last)
    client.stop_channels()
    return "".join(parts).strip()


@pytest.mark.timeout(600)
def test_a_kernel_that_starts_again_opens_nothing_that_the_last_one_made(manager: KernelManager):
    """A kernel that laid a link in the place of its connection file had a file outside overwritten."""
    folder = Path(manager.ip).parent
    for start in range(3):
        if start:
            manager.restart_kernel(now=True)
        seen = told(manager, LOOK.replace("FOLDER", str(folder)), "import os; os._exit(0)")
        assert seen == "False [] True", start
        assert sorted(p.name for p in folder.iterdir()) == ["k-1", "k-2", "k-3", "k-4", "k-5"]
        assert all(p.is_socket() for p in folder.iterdir()), "nothing there has a size"
    manager.shutdown_kernel(now=True)
    assert not folder.exists()


def test_torch_takes_nothing_of_the_memory_that_an_answer_may_have(manager: KernelManager):
    """Its libraries alone are larger than that, if they are those for a GPU."""
    source = f"import torch, matplotlib.pyplot\nprint(len(torch.ones({walls.MEMORY // 2}, dtype=torch.uint8)))"
    assert told(manager, source) == str(walls.MEMORY // 2)


def test_only_answers_are_the_students():
    release = source_notebook()
    release.cells[1].source = "def f(x):\n    raise NotImplementedError"
    handed_in = source_notebook()
    handed_in.cells[0].source = "FACTOR = 3"
    handed_in.cells[2].source = "pass"
    handed_in.cells[3].source = "I think so."
    handed_in.cells.reverse()
    handed_in.cells.append(new_code_cell("import evil"))
    rebuilt, notes = rebuild(release, handed_in)
    assert [c.source.split("\n")[0] for c in rebuilt.cells] == [
        *("FACTOR = 2", "def f(x):", "assert f(1) == 2", "I think so."),
    ]
    assert "return 2 * x" in rebuilt.cells[1].source
    assert notes == []
    assert release.cells[3].source == "Because.", "the release is not changed"
    handed_in.cells = [c for c in handed_in.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "f"]
    rebuilt, notes = rebuild(release, handed_in)
    assert "NotImplementedError" in rebuilt.cells[1].source
    assert notes == ["f: the cell is missing"]
