"""Notebooks without exercises: the demos, and the start page at which JupyterLab opens.

``solutions/demos.py`` -> ``notebooks/demos.ipynb``, as `course build` writes it (committed).
``solutions/start.py`` -> ``notebooks/start.ipynb``, run, with its outputs (ignored by git: one person's progress).
In a handout, which has no sources, the start page that lies there is run again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from autograder import HANDOUT, ROOT
from autograder.errors import CourseError

DEMOS, START = "demos", "start"
SETTINGS = Path(__file__).parent / "jupyterlab"  # JupyterLab's, as it starts here: it asks for no news
START_SECONDS = 60  # for a kernel to start on a busy machine, and read a few notebooks


class Page:
    """A page in ``<root>/solutions/<name>.py``."""

    def __init__(self, name: str, root: Path = ROOT):
        self.name, self.root = name, Path(root)
        self.source = self.root / "solutions" / f"{name}.py"
        self.path = self.root / "notebooks" / f"{name}.ipynb"

    @functools.cached_property
    def notebook(self) -> NotebookNode:
        """The notebook, without outputs.

        Raises:
            CourseError: if the source is no notebook.
        """
        from autograder.labs.lab import read_source  # students have no jupytext

        notebook = read_source(self.source)
        for number, cell in enumerate(notebook.cells, start=1):
            cell["id"] = f"{self.name}-{number}"
        nbformat.validate(notebook)
        return notebook


def released_pages(root: Path = ROOT) -> list[str]:
    """The pages that `course build` makes."""
    return [DEMOS] if Page(DEMOS, root).source.is_file() else []


def write_start_page(root: Path = ROOT) -> Path:
    """Runs the start page where it is going to lie, and writes it with its outputs.

    Raises:
        CourseError: if it cannot be run.
    """
    page = Page(START, root)
    source = page.source if page.source.is_file() else page.path
    try:
        notebook = page.notebook if source == page.source else nbformat.read(page.path, as_version=4)
        resources = {"metadata": {"path": str(page.path.parent)}}
        NotebookClient(notebook, timeout=START_SECONDS, resources=resources).execute()
    except Exception as error:  # no kernel, a kernel of another environment, a cell that fails
        raise CourseError(f"{source} cannot be run: {error}") from error
    nbformat.write(notebook, page.path)
    if (root / HANDOUT).is_file():
        name_the_language(root / "notebooks", notebook.metadata["language_info"])
    return page.path


def name_the_language(folder: Path, language: dict) -> None:
    """Writes into untouched notebooks which Python runs them, as JupyterLab would: else it calls them changed at once.

    Args:
        folder: a student's notebooks. In a checkout they are to stay fresh builds.
        language: as a kernel tells it.
    """
    for path in sorted(folder.rglob("*.ipynb")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a damaged one is told of elsewhere
            notebook = json.loads(path.read_text(encoding="utf-8"))
            if notebook["metadata"]["language_info"] == {"name": "python"}:  # as released
                notebook["metadata"]["language_info"] = dict(language)
                path.write_text(nbformat.writes(nbformat.from_dict(notebook)) + "\n", encoding="utf-8", newline="\n")


def open_jupyterlab(root: Path, path: Path, arguments: Sequence[str]) -> None:
    """JupyterLab in the course's folder, opened at a file or folder of it. Returns when it is shut down.

    Args:
        arguments: JupyterLab's own.
    """
    from jupyterlab.labapp import LabApp

    # ours come last, so what a user or an administrator has set stays
    theirs = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [theirs, str(SETTINGS)]))
    where = path.relative_to(root).as_posix()
    options = [f"--ServerApp.root_dir={root}", "--ContentsManager.preferred_dir=notebooks"]
    with contextlib.chdir(root):  # nbgrader looks there for its configuration
        LabApp.launch_instance([*options, f"--LabApp.default_url=/lab/tree/{where}", *arguments])
