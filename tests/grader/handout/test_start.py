"""`start.py`, as a student meets it: a stand-in for the kit is installed instead of torch and the labs."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from borrowed import find_python, outside

from autograder.handout import wheel

START = Path(wheel.__file__).with_name("start.py")
PROJECT = {
    "name": "stand-in",
    "description": "",
    "license": "",
    "requires-python": ">=3.11",
    "dependencies": [],
    "optional-dependencies": {"lab": []},
}
TELLS = b"""import json, os, sys
assert os.environ["COURSE_COMMAND"] == "python start.py"
print(json.dumps(sys.argv[1:]))
sys.exit(1 if "check" in sys.argv else 0)
"""


def lay_out(folder: Path, *, requires: str = "", version: str = "1+h1") -> Path:
    """A handout whose package only tells how it was called."""
    name, content = wheel.write_wheel(PROJECT, version, {"autograder/__init__.py": b"", "autograder/cli.py": TELLS})
    lab = folder / "notebooks" / "01_lab"
    lab.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(START, folder / "start.py")
    (folder / name).write_bytes(content)
    (folder / "requirements.txt").write_text(f"--constraint constraints.txt\n./{name}[lab]\n{requires}\n")
    (folder / "constraints.txt").write_text(f"{requires}\n")  # what is pinned twice, pip calls a conflict
    return folder


def start(folder: Path, *arguments: str, python: str = sys.executable, **variables: str):
    """Runs ``start.py`` from elsewhere. A stop is one line on stderr."""
    done = subprocess.run(
        [python, folder / "start.py", *arguments],
        cwd=folder.anchor,
        env=outside() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def stopped(done) -> str:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and lines[-1].startswith("start.py: "), (done.returncode, done.stdout, done.stderr)
    assert len([line for line in lines if line.startswith("start.py")]) == 1
    return lines[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Started once, in a folder with blanks and umlauts in its path, where a Python that is gone has left its
    environment."""
    folder = lay_out(tmp_path_factory.mktemp("Übungen im Herbst") / "mein Kurs (größer)")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(folder / "gone")
    begun = time.monotonic()
    done = start(folder)
    (folder / "first start took").write_text(str(time.monotonic() - begun))
    assert done.returncode == 0, done.stderr
    assert "First start" in done.stdout
    assert called(done) == ["--root", str(folder), "lab"]
    return folder


def called(done) -> list[str]:
    return json.loads(done.stdout.splitlines()[-1])


def test_the_second_start_is_at_once(installed: Path) -> None:
    begun = time.monotonic()
    done = start(installed, "--no-browser")
    seconds = time.monotonic() - begun
    assert called(done) == ["--root", str(installed), "lab", "--no-browser"]
    assert len(done.stdout.splitlines()) == 1, "nothing is installed, and nothing said"
    assert seconds < float((installed / "first start took").read_text()) / 2, "no environment is made, no pip asked"


def test_check_gives_its_exit_code(installed: Path) -> None:
    done = start(installed, "--check", "01_lab", "--hints", "3")
    assert done.returncode == 1
    notebook = str(installed / "notebooks" / "01_lab" / "01_lab.ipynb")
    assert called(done) == ["--root", str(installed), "check", notebook, "--hints", "3"]
    for arguments in (["--check"], ["--check", "02_other"]):
        assert "01_lab" in stopped(start(installed, *arguments))
    assert called(start(installed, "doctor")) == ["--root", str(installed), "doctor"]


def test_what_changed_is_installed_again(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(installed, folder, symlinks=True)
    lay_out(folder, version="1+h2")
    done = start(folder)
    assert done.returncode == 0 and "First start" not in done.stdout, "the environment is kept"
    assert "stand-in" in done.stdout.lower() and "1+h2" in done.stdout
    assert len(start(folder).stdout.splitlines()) == 1


def test_no_network(tmp_path: Path, installed: Path) -> None:
    folder = lay_out(tmp_path, requires="a-package-of-which-nobody-has-heard==1.0")
    shutil.copytree(installed / ".venv", folder / ".venv", symlinks=True)
    assert "network" in stopped(start(folder))
    assert "network" in stopped(start(folder)), "again: no harm was done"
    lay_out(folder)  # the network is back
    done = start(folder)
    assert done.returncode == 0 and "First start" not in done.stdout, "it goes on with the environment that is there"


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "an empty folder", "no pip", "not all installed"])
def test_a_half_finished_installation_goes_on(tmp_path: Path, left: str) -> None:
    folder = lay_out(tmp_path / "kurs")
    if left == "nothing":
        pass
    elif left == "an empty folder":
        (folder / ".venv").mkdir()
    elif left == "no pip":
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    done = start(folder)
    assert done.returncode == 0, done.stderr
    assert called(done) == ["--root", str(folder), "lab"]


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    folder.chmod(0o500)
    try:
        assert "cannot be written to" in stopped(start(folder))
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="the lock is taken by another call there")
def test_two_starts_at_once(tmp_path: Path) -> None:
    """The second one does not touch what the first one is making."""
    import fcntl

    folder = lay_out(tmp_path)
    with (folder / ".installing").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        assert "another start.py" in stopped(start(folder))
    assert not (folder / ".venv").exists()


def test_started_within_the_zip(tmp_path: Path) -> None:
    """Windows unpacks the one file that is clicked on."""
    shutil.copyfile(START, tmp_path / "start.py")
    for arguments in ([], ["--check", "01_lab"]):
        assert "unpack the whole zip" in stopped(start(tmp_path, *arguments))


def test_little_disk(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    source = (folder / "start.py").read_text(encoding="utf-8")
    lines = [line if not line.startswith("DISK_GB") else "DISK_GB = 10**9" for line in source.splitlines()]
    (folder / "start.py").write_text("\n".join(lines), encoding="utf-8")
    assert "make room" in stopped(start(folder))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'", "network"),
        ("ERROR: [Errno 2] No such file\nHINT: This system does not have Windows Long Path support enabled", "shorter"),
        ("ERROR: [Errno 13] Permission denied: '/opt/course'", "cannot be written to"),
        ("something\nERROR: the wheel is broken", "ERROR: the wheel is broken"),
    ],
)
def test_what_pip_says_becomes_one_line(said: str, wanted: str) -> None:
    spaces: dict = {"__name__": "start", "__file__": str(START)}
    exec(compile(START.read_text(encoding="utf-8"), START, "exec"), spaces)
    assert wanted in spaces["what_to_do"](said, "pip said: ")


def test_old_pythons_can_read_it() -> None:
    tree = ast.parse(START.read_text(encoding="utf-8"), feature_version=(3, 7))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Starred, ast.AsyncFunctionDef)
    starred = [n for call in ast.walk(tree) if isinstance(call, ast.Call) for n in call.args]  # f(*arguments) is old
    assert not [n for n in ast.walk(tree) if isinstance(n, new) and n not in starred]


@pytest.mark.parametrize("old", ["2.7", "3.6", "3.8", "3.10"])
def test_an_old_python_is_told_by_name(tmp_path: Path, old: str) -> None:
    folder = lay_out(tmp_path)
    if sys.version_info[:2] != tuple(map(int, old.split("."))) and (python := find_python(old)):
        done = start(folder, python=python)
    else:  # it is not on this machine: this Python says that it is the old one
        pretend = f"import runpy, sys; sys.version_info = ({old.replace('.', ', ')}, 1); sys.version = '{old}.1'\n"
        pretend += f"runpy.run_path({str(folder / 'start.py')!r}, run_name='__main__')"
        done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False)
    told = stopped(done)
    assert f"this is Python {old}." in told and "3.12" in told
    assert not (folder / ".venv").exists()
