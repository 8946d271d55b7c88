"""The static site: labs as pages, guides, reference. Needs the extra `dev`.

``solutions/``, ``docs/`` and docstrings -> ``build/site-source`` -> Sphinx -> ``build/site``. The folder of sources is
laid out as the repository is, so links between guides hold as they stand. The pages are then checked: links, text
alternatives, and that no answer shows.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring import links
from autograder.authoring.gates import secret_lines
from autograder.authoring.lab_page import execute_once, lab_page, still_page
from autograder.errors import CourseError
from autograder.labs.build import answered, release
from autograder.labs.lab import Lab
from autograder.labs.pages import DEMOS, Page

AT_ONCE = 2
"""Notebooks that run at the same time: each takes a core and 1 to 2 GB."""

GUIDES = ("README.md", "CONTRIBUTING.md", "LICENSE", "data/README.md", "docs/*.md", "docs/*.svg", "docs/pictures/*")

# What an author or instructor may want to call from Python; the rest of autograder is the command's own.
SHOWN_OF_AUTOGRADER = (
    "errors",
    "labs/build",
    "labs/cell",
    "labs/lab",
    "grading/grader",
    "grading/submission",
    "authoring/gates",
)

Told = Callable[[str, int, int], None]
"""Called with a notebook's name, how many of its cells have run, and how many there are; in the end with "Sphinx"."""


def make_site(labs: list[Lab], root: Path, told: Told = lambda *_: None) -> list[str]:
    """Makes the site of these labs and of all guides; its start page is ``<root>/build/site/index.html``.

    Returns:
        What is wrong with the finished pages, one line each: a broken link, something that is loaded from another host,
        a picture without a text alternative, a line of an answer or hidden check, a folder of this machine.

    Raises:
        CourseError: if Sphinx is not installed, a lab does not run or its page would show an answer, or Sphinx warns.
    """
    if not find_spec("sphinx"):
        raise CourseError("Sphinx is not installed: `make setup` does it, or pip install --editable '.[dev]'")
    source, made = root / "build" / "site-source", root / "build" / "site"
    notebooks = {lab.name: answered(lab) for lab in labs} | {DEMOS: Page(DEMOS, root).notebook}
    executed = run_notebooks(notebooks, root / "build" / "executed", told)
    written = [
        *write_labs(labs, executed, source),
        write_demos(executed[DEMOS], source),
        *write_guides(root, source),
        *write_reference(root, source),
    ]
    if remove_others(source, written):
        shutil.rmtree(made, ignore_errors=True)  # Sphinx would leave the page of what is no more
    told("Sphinx", 0, 1)
    run_sphinx(root, source, made)
    told("Sphinx", 1, 1)
    return faults(labs, root, made)


def run_notebooks(notebooks: dict[str, NotebookNode], executed: Path, told: Told) -> dict[str, NotebookNode]:
    """Runs notebooks, some at a time, unless they have run before; by name."""

    def run(name: str) -> NotebookNode:
        count = len(notebooks[name].cells)
        notebook = execute_once(notebooks[name], name, executed, lambda done: told(name, done, count))
        told(name, count, count)
        return notebook

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(notebooks, pool.map(run, notebooks), strict=True))


def write_labs(labs: list[Lab], executed: dict[str, NotebookNode], source: Path) -> list[Path]:
    """Writes a page for each lab, the notebook to download, and the list of labs."""
    written = []
    for lab in labs:
        folder, page = source / "notebooks" / lab.name, lab_page(lab, executed[lab.name])
        written.append(write(folder / f"{lab.name}.ipynb", nbformat.writes(page).encode()))
        written.append(write(folder / "released" / f"{lab.name}.ipynb", nbformat.writes(release(lab)).encode()))
    rows = [_row(lab) for lab in labs]
    entries = [f"{title} <notebooks/{lab.name}/{lab.name}>" for lab, (title, *_) in zip(labs, rows, strict=True)]
    table = [
        f"| [{title}](notebooks/{lab.name}/{lab.name}.ipynb) | {minutes} | {points:g} |"
        for lab, (title, minutes, points) in zip(labs, rows, strict=True)
    ]
    text = "# Labs\n\n| lab | minutes | points by checks |\n| --- | --: | --: |\n" + "\n".join(table)
    text += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(entries) + "\n```\n"
    return [*written, write(source / "labs.md", text.encode())]


def _row(lab: Lab) -> tuple[str, object, float]:
    number, _, _ = lab.name.partition("_")
    return f"{number} {lab.settings.get('title', lab.name)}", lab.settings.get("minutes", ""), lab.max_score


def write_demos(executed: NotebookNode, source: Path) -> Path:
    """Writes the page of the demos. Its link to JupyterLab's start page leads to the list of labs."""
    text = nbformat.writes(still_page(executed)).replace("](start.ipynb)", "](../labs.md)")
    return write(source / "notebooks" / f"{DEMOS}.ipynb", text.encode())


def write_guides(root: Path, source: Path) -> list[Path]:
    """Copies the guides. A link to a module leads to the module's page in the reference."""
    written = []
    for pattern in GUIDES:
        for path in sorted(root.glob(pattern)):
            content = path.read_bytes()
            if path.suffix == ".md":
                up = "../" * (len(path.relative_to(root).parts) - 1)
                content = _link_to_reference(content.decode(), f"{up}api").encode()
            written.append(write(source / path.relative_to(root), content))
    return [*written, write(source / "index.md", (root / "docs" / "site" / "index.md").read_bytes())]


def _link_to_reference(text: str, api: str) -> str:
    module = r"\]\((?:\.\./)*((?:course_utils|autograder)(?:/\w+)+)\.py\)"
    return re.sub(module, lambda found: f"]({api}/{found[1].replace('/', '.')}.md)", text)


def write_reference(root: Path, source: Path) -> list[Path]:
    """Writes a page for each module, whose docstrings Sphinx puts in, and one for the command."""
    listed = {
        "course_utils, what the labs import": sorted((root / "course_utils").rglob("*.py")),
        "autograder, for authors": [root / "autograder" / f"{name}.py" for name in SHOWN_OF_AUTOGRADER],
    }
    written, index, names = [], ["# Modules\n"], []
    for title, paths in listed.items():
        index += [f"\n## {title}\n", "| module | what it holds |", "| --- | --- |"]
        for path in paths:
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            about = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            written.append(
                write(source / "api" / f"{name}.md", _rst_page(name, f".. automodule:: {name}\n   :members:"))
            )
            index.append(f"| [{name}]({name}.md) | {about} |")
            names.append(f"{name.removeprefix('course_utils.')} <{name}>")
    index.append("\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n")
    written.append(write(source / "api" / "index.md", "\n".join(index).encode()))
    command = _rst_page("The command course", ".. click:: autograder.cli:main\n   :prog: course\n   :nested: full")
    # a comment that changes with the command, because sphinx-click does not tell Sphinx what its page stands on
    sources = [root / "autograder" / "cli.py", *sorted((root / "autograder" / "commands").glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return [*written, write(source / "api" / "command.md", command + f"\n% commands {digest}\n".encode())]


def _rst_page(title: str, directive: str) -> bytes:
    return f"# {title}\n\n```{{eval-rst}}\n{directive}\n```\n".encode()


def write(path: Path, content: bytes) -> Path:
    """Writes a file unless it is so already: Sphinx reads again what is newer than the page it made of it."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def remove_others(folder: Path, kept: Iterable[Path]) -> list[Path]:
    """Removes what an earlier run left in ``folder``: a lab or module that is no more. Returns what it was."""
    others = [path for path in set(folder.rglob("*")) - set(kept) if path.is_file()]
    for path in others:
        path.unlink()
    return others


def run_sphinx(root: Path, source: Path, made: Path) -> None:
    """Runs Sphinx; every warning is an error.

    Raises:
        CourseError: if there was one. Sphinx has printed what it was.
    """
    trees = source.with_name("site-trees")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q"]
    command += ["-c", str(root / "docs" / "site"), "-d", str(trees), str(source), str(made)]
    if subprocess.run(command).returncode:
        shutil.rmtree(trees, ignore_errors=True)  # else the next run would not read those pages, and not warn again
        raise CourseError("Sphinx warned, see above: the site is not made until nothing is left to warn of")


def faults(labs: list[Lab], root: Path, made: Path) -> list[str]:
    """What is wrong with the finished pages, one line each."""
    read = links.read_pages(made)
    found = links.faults(read) + links.style_faults(made)
    texts = {path.name: page.text for path, page in read.items()}
    for folder in (str(root), str(Path.home())):
        found += [f"{name}: names a folder of this machine, {folder}" for name, text in texts.items() if folder in text]
    # an import in one lab's answer may stand in another lab for all to see
    public = "\n".join(cell.source for lab in labs for cell in release(lab).cells)
    for lab in labs:
        secrets = [line for line in secret_lines(lab) if line not in public]
        shown = [(name, line) for name, text in texts.items() for line in secrets if line in text]
        found += [f"{name}: shows an answer of {lab.name}: {line}" for name, line in shown]
    return found
