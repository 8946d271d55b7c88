"""Looks at this machine and says what the course lacks here, and how to mend it.

Every look is a small function that gives one `Finding`; none of them changes anything. What hinders the labs or the
grader is a *problem*; what one can live without is a *note*. Works wherever Python does: what a system lacks becomes a
finding.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder import ROOT
from autograder.errors import CourseError

NEEDED_PYTHON = (3, 11)
MEMORY_GIB = 2.0  # torch and a notebook take one; the grader lets an answer have two
DISK_GIB = 1.0  # data sets, grades, and copies of what was handed in

EXTENSION = "@jupyter-widgets/jupyterlab-manager"

REINSTALL = "python -m pip install --constraint constraints.txt --editable '.[dev]' (or: make setup)"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        subject: what was looked at.
        verdict: "ok", "note" or "problem".
        found: what is so here.
        mend: what to do; empty if the verdict is "ok".
    """

    subject: str
    verdict: str
    found: str
    mend: str = ""


def examine(root: Path = ROOT, grades: Path = Path("build/grades")) -> Iterator[Finding]:
    """All findings, the quick ones first.

    Args:
        root: the course's folder.
        grades: where `course grade` writes.
    """
    yield python()
    yield packages(root)
    yield memory()
    yield disk(root)
    yield kernel()
    yield widgets()
    yield from data_sets()
    yield gradebook(grades)
    yield sandbox()


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info >= NEEDED_PYTHON:
        return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    needed = ".".join(map(str, NEEDED_PYTHON))
    return Finding("Python", "problem", f"{version}, {needed} is needed", f"make setup PYTHON=python{needed}")


def packages(root: Path) -> Finding:
    """The versions that pyproject.toml pins, against what is installed."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return Finding(
            "packages", "note", f"{path} is not here: nothing to compare with", "run it in the course's folder"
        )
    pins = [p.split("==") for p in tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]]
    missing, other = [], []
    for name, wanted in pins:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed.partition("+")[0] != wanted:  # "2.15.0+cpu" is torch 2.15.0
            other.append(f"{name} {installed} (pinned: {wanted})")
    if missing:
        return Finding("packages", "problem", f"not installed: {', '.join(missing + other)}", REINSTALL)
    if other:
        return Finding("packages", "problem", f"other versions: {', '.join(other)}", REINSTALL)
    return Finding("packages", "ok", f"{len(pins)} as pinned in pyproject.toml")


def memory() -> Finding:
    try:
        import psutil
    except ImportError:
        return Finding("free memory", "note", "not measured: psutil is not installed", "python -m pip install psutil")
    free = psutil.virtual_memory().available / 2**30
    if free >= MEMORY_GIB:
        return Finding("free memory", "ok", f"{free:.1f} GiB")
    mend = "close other notebooks (Kernel > Shut Down All Kernels) and programs; grade with --workers 1"
    return Finding("free memory", "problem", f"{free:.1f} GiB, {MEMORY_GIB:g} are needed", mend)


def disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free / 2**30
    if free >= DISK_GIB:
        return Finding("free disk", "ok", f"{free:.1f} GiB at {root}")
    mend = "make room: build/ can be deleted and made again, but build/grades holds the grades"
    return Finding("free disk", "problem", f"{free:.1f} GiB at {root}, {DISK_GIB:g} are needed", mend)


def kernel() -> Finding:
    """The kernel that the labs name, ``python3``, must be this Python's own."""
    mend = f'"{sys.executable}" -m ipykernel install --sys-prefix'
    try:
        importlib.metadata.version("ipykernel")
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Finding("Jupyter kernel", "problem", "ipykernel or jupyter_client is not installed", REINSTALL)
    try:
        program = Path(KernelSpecManager().get_kernel_spec("python3").argv[0])
    except NoSuchKernel:
        return Finding("Jupyter kernel", "problem", "there is no kernel named python3", mend)
    if program.is_absolute() and Path(sys.executable) != program:
        return Finding("Jupyter kernel", "problem", f"python3 starts {program}, this is {sys.executable}", mend)
    return Finding("Jupyter kernel", "ok", f"python3 starts {sys.executable}")


def widgets() -> Finding:
    """ipywidgets draws the sliders; JupyterLab needs its extension, which pip brings along."""
    try:
        version = importlib.metadata.version("ipywidgets")
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return Finding("widgets", "problem", "ipywidgets is not installed: demos have no sliders", REINSTALL)
    if any(Path(folder, EXTENSION, "package.json").is_file() for folder in jupyter_path("labextensions")):
        return Finding("widgets", "ok", f"ipywidgets {version} and JupyterLab's extension")
    mend = "python -m pip install --force-reinstall jupyterlab-widgets, then reload the page"
    return Finding("widgets", "problem", f"ipywidgets {version}, but JupyterLab's extension is missing", mend)


def data_sets() -> Iterator[Finding]:
    """None is needed: labs run on generated data without them."""
    try:
        from course_utils import data
    except ImportError as error:  # `packages` says what is missing
        yield Finding("data sets", "problem", f"course_utils cannot be loaded: {error}", REINSTALL)
        return
    for row in data.describe():
        subject = f"data: {row.name}"
        yield Finding(subject, "ok", str(row.found)) if row.found else Finding(subject, "note", "not here", row.hint)


def gradebook(grades: Path) -> Finding:
    path = grades / "gradebook.db"
    folder = next(p for p in [grades, *grades.absolute().parents] if p.is_dir())
    if not os.access(folder, os.W_OK):
        return Finding("gradebook", "problem", f"{folder} cannot be written to", "course grade --output FOLDER")
    if not path.is_file():
        return Finding("gradebook", "ok", f"none yet; {path} can be made")
    try:
        database = sqlite3.connect(path, timeout=1, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("SELECT count(*) FROM grade")
            database.execute("ROLLBACK")
        finally:
            database.close()
    except sqlite3.OperationalError as error:
        mend = "end the program that holds it (formgrader, another course grade), or make the file writable"
        return Finding("gradebook", "problem", f"{path}: {error}", mend)
    except sqlite3.DatabaseError as error:
        return Finding("gradebook", "problem", f"{path}: {error}", "restore a copy, or delete it and grade again")
    return Finding("gradebook", "ok", f"{path} can be written")


def sandbox() -> Finding:
    """Which walls stand around answers, asked of a real candidate process."""
    mend = "only who grades strangers' answers needs all: use Linux, or a machine that you do not need"
    try:
        from autograder.grading.grader import Grader
        from autograder.sandbox.walls import WALLS

        with Grader() as grader:
            walls = grader.walls()
    except (ImportError, OSError, TypeError) as error:  # Windows has neither fork nor resource limits
        return Finding("sandbox", "note", f"the grader does not run on {platform.system()} ({error})", f"{mend} (WSL)")
    except CourseError as error:
        return Finding("sandbox", "problem", str(error), "mend what stands above; then this command again")
    missing = [wall for wall in WALLS if wall not in walls]
    if not missing:
        return Finding("sandbox", "ok", f"all walls: {', '.join(walls)}")
    if sys.platform == "linux":
        mend = (
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container --privileged), or grade as root"
        )
    return Finding("sandbox", "note", f"only {', '.join(walls)}; NOT in force: {', '.join(missing)}", mend)
