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
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autograder import HANDOUT, ROOT
from autograder.errors import CourseError

NEEDED_PYTHON = (3, 11)
MEMORY_GIB = 2.0  # torch and a notebook take one; the grader lets an answer have two
DISK_GIB = 1.0  # data sets, grades, and copies of what was handed in

EXTENSION = "@jupyter-widgets/jupyterlab-manager"

DISTRIBUTION = "quantization-course"


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
    """All findings, the quick ones first; those of grading only where a grader is installed.

    Args:
        root: the course's folder.
        grades: where `course grade` writes.
    """
    yield python()
    yield packages(root)
    yield memory(root)
    yield disk(root)
    yield kernel(root)
    yield widgets(root)
    yield from data_sets(root)
    if grades_here():
        yield gradebook(grades)
        yield sandbox()


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info >= NEEDED_PYTHON:
        return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    needed = ".".join(map(str, NEEDED_PYTHON))
    mend = f"make setup PYTHON=python{needed}, or: python{needed} start.py"
    return Finding("Python", "problem", f"{version}, {needed} is needed", mend)


def packages(root: Path) -> Finding:
    """What the course asks of this installation, and the lock file in its folder, against what is installed."""
    missing, outside = [], []
    wanted = list(requirements())
    for requirement in wanted:
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            outside.append(f"{requirement.name} {installed} (needed: {requirement.specifier})")
    if missing:
        return Finding("packages", "problem", f"not installed: {', '.join(missing + outside)}", reinstall(root))
    if outside:
        return Finding("packages", "problem", f"other versions: {', '.join(outside)}", reinstall(root))
    pinned = pins(root / "constraints.txt")
    other = [
        f"{r.name} {installed} (tested: {pinned[canonicalize_name(r.name)]})"
        for r in wanted
        # "2.15.0+cpu" is torch 2.15.0
        if (installed := importlib.metadata.version(r.name)).partition("+")[0]
        != pinned.get(canonicalize_name(r.name), installed.partition("+")[0])
    ]
    if other:
        return Finding("packages", "note", f"new enough, but others than tested: {', '.join(other)}", reinstall(root))
    return Finding("packages", "ok", f"{len(wanted)}, {'as pinned in constraints.txt' if pinned else 'all new enough'}")


def requirements() -> Iterator[Requirement]:
    """What the installed course needs here: for its notebooks, for JupyterLab, and for grading if that is here."""
    extras = ("lab", "grading") if grades_here() else ("lab",)
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if requirement.name != DISTRIBUTION and (
            marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ):
            yield requirement


def pins(path: Path) -> dict[str, str]:
    """Name -> version in a lock file; nothing if there is none."""
    lines = path.read_text(encoding="utf-8").split() if path.is_file() else []
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines if "==" in line)}


def reinstall(root: Path) -> str:
    """How this installation is mended: as a student's, or as a checkout's."""
    if (root / HANDOUT).is_file():
        if Path(sys.prefix) == root / ".venv":
            return "delete the folder .venv, then: python start.py"
        return f'in {root}: "{sys.executable}" -m pip install --requirement requirements.txt'
    if (root / "pyproject.toml").is_file():
        return "python -m pip install --constraint constraints.txt --editable '.[dev]' (or: make setup)"
    return f"python -m pip install '{DISTRIBUTION}[lab]'"


def grades_here() -> bool:
    """Whether this is a grader's installation: students get the labs without the grader's modules."""
    return find_spec("autograder.grading.grader") is not None


def memory(root: Path) -> Finding:
    try:
        import psutil
    except ImportError:
        return Finding("free memory", "note", "not measured: psutil is not installed", reinstall(root))
    free = psutil.virtual_memory().available / 2**30
    if free >= MEMORY_GIB:
        return Finding("free memory", "ok", f"{free:.1f} GiB")
    mend = "close other notebooks (Kernel > Shut Down All Kernels) and programs"
    mend += "; grade with --workers 1" if grades_here() else ""
    return Finding("free memory", "problem", f"{free:.1f} GiB, {MEMORY_GIB:g} are needed", mend)


def disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free / 2**30
    if free >= DISK_GIB:
        return Finding("free disk", "ok", f"{free:.1f} GiB at {root}")
    mend = "make room"
    mend += ": build/ can be deleted and made again, but build/grades holds the grades" if grades_here() else ""
    return Finding("free disk", "problem", f"{free:.1f} GiB at {root}, {DISK_GIB:g} are needed", mend)


def kernel(root: Path) -> Finding:
    """The kernel that the labs name, ``python3``, must be this Python's own."""
    mend = f'"{sys.executable}" -m ipykernel install --sys-prefix'
    try:
        importlib.metadata.version("ipykernel")
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Finding("Jupyter kernel", "problem", "ipykernel or jupyter_client is not installed", reinstall(root))
    try:
        program = Path(KernelSpecManager().get_kernel_spec("python3").argv[0])
    except NoSuchKernel:
        return Finding("Jupyter kernel", "problem", "there is no kernel named python3", mend)
    if program.is_absolute() and Path(sys.executable) != program:
        return Finding("Jupyter kernel", "problem", f"python3 starts {program}, this is {sys.executable}", mend)
    return Finding("Jupyter kernel", "ok", f"python3 starts {sys.executable}")


def widgets(root: Path) -> Finding:
    """ipywidgets draws the sliders; JupyterLab needs its extension, which pip brings along."""
    try:
        version = importlib.metadata.version("ipywidgets")
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return Finding("widgets", "problem", "ipywidgets is not installed: demos have no sliders", reinstall(root))
    if any(Path(folder, EXTENSION, "package.json").is_file() for folder in jupyter_path("labextensions")):
        return Finding("widgets", "ok", f"ipywidgets {version} and JupyterLab's extension")
    mend = f'"{sys.executable}" -m pip install --force-reinstall jupyterlab-widgets, then reload the page'
    return Finding("widgets", "problem", f"ipywidgets {version}, but JupyterLab's extension is missing", mend)


def data_sets(root: Path) -> Iterator[Finding]:
    """None is needed: labs run on generated data without them."""
    try:
        from course_utils import data
    except ImportError as error:  # `packages` says what is missing
        yield Finding("data sets", "problem", f"course_utils cannot be loaded: {error}", reinstall(root))
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
        from autograder.sandbox.groups import GROUP, NO_GROUP
        from autograder.sandbox.walls import WALLS

        with Grader() as grader:
            walls = grader.walls()
    except (ImportError, OSError, TypeError) as error:  # Windows has neither fork nor resource limits
        return Finding("sandbox", "note", f"the grader does not run on {platform.system()} ({error})", f"{mend} (WSL)")
    except CourseError as error:
        return Finding("sandbox", "problem", str(error), "mend what stands above; then this command again")
    missing = [wall for wall in WALLS if wall not in walls]
    if not missing:
        return Finding("sandbox", "ok", f"all walls: {', '.join(walls)}{'' if GROUP in walls else NO_GROUP}")
    if sys.platform == "linux":
        mend = (
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container --privileged), or grade as root"
        )
    return Finding("sandbox", "note", f"only {', '.join(walls)}; NOT in force: {', '.join(missing)}", mend)
