"""A lab as a page to read: the released notebook, with the outputs that the reference answers give.

The release runs in a kernel with the reference answers in its answer cells; the outputs then go to the untouched
release, by the cells' ids. Hidden checks never run for it, and a page that shows a line of an answer or of a hidden
check is refused. What needs a kernel to live, sliders and buttons, is replaced by the picture with which it opens.
"""

from __future__ import annotations

import copy
import hashlib
import html
import json
import os
import re
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

import course_utils
from autograder.authoring.gates import secret_lines
from autograder.errors import CourseError
from autograder.labs.build import release
from autograder.labs.lab import Lab
from course_utils import data

CELL_SECONDS = 600  # a whole lab is made to run in two minutes; more than this is a hang

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

SHOWN = ("text/html", "text/markdown", "text/latex", "text/plain")
"""What an output may be on a page. Data for programs stays out."""

Told = Callable[[int], None]
"""Called after each cell, with the number of cells that have run."""


def execute(notebook: NotebookNode, name: str, told: Told = lambda _: None) -> NotebookNode:
    """Runs a notebook in an empty folder; what is handed in stays as it is.

    Args:
        notebook: any; for a lab what `build.answered` gives.
        name: what to call it in an error.
        told: called after each cell.

    Returns:
        The notebook with outputs.

    Raises:
        CourseError: if a cell fails or hangs; it names notebook, cell and error.
    """
    notebook = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            extra_arguments=["--log-level=ERROR"],  # not one warning for each kernel that it talks over TCP
            resources={"metadata": {"path": folder}},
            on_cell_executed=lambda cell_index, **_: told(cell_index),
        )
        try:
            # notebooks run beside each other: threads of their own would only get in each other's way
            client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})
        except CellExecutionError as error:
            failed = _failed_cell(notebook)
            raise CourseError(f"{name} does not run: cell {failed!r}: {error.ename}: {error.evalue}") from error
        except (CellTimeoutError, DeadKernelError) as error:
            raise CourseError(f"{name} does not run: {error}") from error
    return notebook


def execute_once(notebook: NotebookNode, name: str, folder: Path, told: Told = lambda _: None) -> NotebookNode:
    """Like `execute`, but what has run before comes from ``folder``, unless something that decides about it changed."""
    path = Path(folder) / f"{name}-{_key(notebook)}.ipynb"
    if path.is_file():
        return nbformat.read(path, as_version=4)
    executed = execute(notebook, name, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{name}-*.ipynb"):
        old.unlink()
    part = path.with_suffix(".part")
    nbformat.write(executed, part)
    part.replace(path)  # whole or not at all
    return executed


def lab_page(lab: Lab, executed: NotebookNode) -> NotebookNode:
    """The released notebook with the outputs of the answered one.

    Raises:
        CourseError: if a line of an answer or of a hidden check would show; it names the cell.
    """
    made = copy.deepcopy(release(lab))
    answers = {cell.id for cell in lab.answers}
    ran = {cell["id"]: cell for cell in executed.cells}
    for cell in made.cells:
        if cell.cell_type == "code":
            # what an answer prints is part of the answer
            cell.outputs = [] if cell["id"] in answers else ran[cell["id"]].outputs
            cell.execution_count = ran[cell["id"]].execution_count
    made.metadata["widgets"] = executed.metadata.get("widgets", {})
    made = still_page(made)
    about = "The answers are left out; the outputs are those that right answers give."
    made.cells.insert(1, _note(f"{about} To work on the lab, open {_download(lab.name)} in JupyterLab."))
    secrets = secret_lines(lab)
    for cell in made.cells:
        text = f"{cell.source}\n{_text(cell.get('outputs', []))}"
        if leaked := [line for line in secrets if line in text]:
            raise CourseError(f"the page of {lab.name} would show an answer, in cell {cell['id']!r}: {leaked[0]}")
    return made


def still_page(executed: NotebookNode) -> NotebookNode:
    """An executed notebook as it can stand on a page: every picture with its text alternative, no widget."""
    made = copy.deepcopy(executed)
    state = made.metadata.pop("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in made.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [_still(output, cell.source, state) for output in cell.outputs]
    return made


def _download(name: str) -> str:
    return f"{{download}}`{name}.ipynb <released/{name}.ipynb>`"


def _note(text: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(f":::{{note}}\n{text}\n:::", id="about-this-page")


def _still(output: NotebookNode, source: str, state: dict) -> NotebookNode:
    bundle = output.get("data", {})
    if WIDGET in bundle:
        return _html(_widget_still(bundle[WIDGET]["model_id"], state))
    if "image/png" in bundle:  # not from a lab in the course's style: its figures bring HTML with a description
        alt, encoded = f"Picture made by: {_first_line(source)}", bundle["image/png"].replace("\n", "")
        return _html(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">')
    if bundle:
        output.data = {kind: value for kind, value in bundle.items() if kind in SHOWN}
    return output


def _html(text: str) -> NotebookNode:
    return nbformat.v4.new_output("display_data", {"text/html": text})


def _widget_still(model: str, state: dict) -> str:
    """What a demo shows when it opens: its HTML parts, and the names of its controls."""
    parts, controls = [], []
    for widget in _widgets(model, state):
        shown = state[widget]["state"]
        if state[widget]["model_name"] == "HTMLModel":
            parts.append(shown.get("value", ""))
        elif re.search("[a-z]", shown.get("description", "")):  # no bare numbers: a row of bits has no names
            controls.append(shown["description"])
    known = f" with controls ({html.escape(', '.join(controls))})" if controls else ""
    return f'<p class="demo">In JupyterLab this is a demo{known}, which opens like this:</p>{"".join(parts)}'


def _widgets(model: str, state: dict) -> list[str]:
    """The ids of a widget and of all that it holds, in order."""
    children = [child.removeprefix("IPY_MODEL_") for child in state[model]["state"].get("children", [])]
    return [model, *(widget for child in children for widget in _widgets(child, state))]


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    return lines[0].lstrip("# ") if lines else "the cell above"


def _text(outputs: list[NotebookNode]) -> str:
    """Everything in outputs that a person could read."""
    texts = []
    for output in outputs:
        texts.append(output.get("text", ""))
        for kind, value in output.get("data", {}).items():
            if kind == "text/html":
                value = re.sub(r"data:image[^\"]*", "", value)
                value += html.unescape(re.sub(r"<[^>]*>", "", value))
            texts.append(str(value))
    return "\n".join(texts)


def _failed_cell(notebook: NotebookNode) -> str:
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return cell["id"]
    return "?"


def _key(notebook: NotebookNode) -> str:
    """Changes with the notebook, the code and data that it stands on, and the versions of what computes and draws."""
    package = Path(course_utils.__file__).parent
    weights = package.parent / "data" / "weights"
    files = [*sorted(package.rglob("*.py")), *sorted(p for p in weights.rglob("*") if p.is_file())]
    parts = [
        nbformat.writes(notebook),
        [(str(p.relative_to(package.parent)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files],
        [(row.name, str(row.found)) for row in data.describe()],
        [version(name) for name in ("torch", "torchvision", "torchao", "numpy", "matplotlib", "ipywidgets")],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
