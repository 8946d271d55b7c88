"""`course lab` opens JupyterLab at the start page, which shows progress, and whose links open labs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from notebook_page import open_notebook
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from autograder import HANDOUT, ROOT
from autograder.labs.build import build
from autograder.labs.lab import Lab
from autograder.labs.pages import DEMOS, START, Page
from course_utils.checks.progress import VERDICT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LABS = ("01_floating_point", "02_quantization_helpers", "03_quantized_layer")
QUESTIONS = ".jp-Dialog, .Toastify__toast"
LATE_QUESTIONS = 3000  # milliseconds, after which JupyterLab has asked all that it asks at its start
VERDICT_TRUE = {"output_type": "display_data", "data": {VERDICT: {"exercise": "x", "passed": True}}, "metadata": {}}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a student has, with three labs: of the first, one check passed; the second has a date; the third is no
    notebook."""
    root = tmp_path_factory.mktemp("course")
    for name in (START, DEMOS):
        (root / "solutions").mkdir(exist_ok=True)
        shutil.copy(ROOT / "solutions" / f"{name}.py", root / "solutions")
    for name in LABS:
        shutil.copytree(ROOT / "notebooks" / name, root / "notebooks" / name)
    build(Page(DEMOS, root))
    (root / HANDOUT).write_text("{}", encoding="utf-8")
    change(root, LABS[0], pass_first_check)
    change(root, LABS[1], lambda notebook: notebook["metadata"]["course"].update(due="2020-02-29T12:00:00+00:00"))
    notebook_path(root, LABS[2]).write_text("<<<<<<< HEAD\n", encoding="utf-8")
    return root


def notebook_path(root: Path, name: str) -> Path:
    return root / "notebooks" / name / f"{name}.ipynb"


def change(root: Path, name: str, edit: Callable[[dict], None]) -> None:
    path = notebook_path(root, name)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    edit(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def pass_first_check(notebook: dict) -> None:
    checks = (c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("points"))
    check = next(checks)
    check["outputs"] = [VERDICT_TRUE]


@pytest.fixture(scope="module")
def server(course: Path, start_lab: Callable):
    command = [sys.executable, "-m", "autograder.cli", "--root", str(course), "lab"]
    return start_lab(course, command=command, settings={})


@pytest.fixture
def start_page(server, page: Tab) -> Locator:
    """The start page as one gets it: at JupyterLab's own address, without a path."""
    page.goto(server.address(""))
    notebook = page.locator(".jp-NotebookPanel")
    notebook.get_by_role("heading", name="Start here").wait_for()
    return notebook


def row(start_page: Locator, name: str) -> Locator:
    return start_page.locator("tr", has_text=name)


def test_it_shows_progress_in_words_and_names_what_is_broken(start_page: Locator, page: Tab) -> None:
    first = Lab(LABS[0])
    points, every = first.questions[0].points, first.max_score
    cells = row(start_page, "1: Floating point").locator("td")
    expect(cells.nth(2)).to_have_text(f"{points:g} of {every:g}")
    expect(cells.nth(3)).to_have_text(f"0 of {sum(c.kind == 'written' for c in first.cells)}")
    expect(row(start_page, "2: Quantization").locator("td").nth(1)).to_have_text(f"0 of {len(Lab(LABS[1]).exercises)}")
    expect(row(start_page, "2: Quantization")).to_contain_text("days ago")
    expect(start_page.locator("th").first).to_have_text("Lab")

    expect(row(start_page, LABS[2])).to_contain_text("cannot be read")
    expect(start_page.get_by_text(f"{LABS[2]}/{LABS[2]}.ipynb")).to_be_visible()

    expect(start_page.locator(".jp-CodeCell .cm-content")).to_have_count(0)  # code is out of the way
    expect(page.locator(".jp-DirListing-itemName", has_text=LABS[0])).to_be_visible()  # the labs' folder is open


@pytest.mark.parametrize(
    ("link", "tab"), [("1: Floating point", f"{LABS[0]}.ipynb"), ("Pictures to play with", f"{DEMOS}.ipynb")]
)
def test_its_links_open_notebooks(start_page: Locator, page: Tab, link: str, tab: str) -> None:
    start_page.get_by_role("link", name=link).last.click()
    expect(page.locator(".lm-DockPanel .lm-TabBar-tabLabel", has_text=tab)).to_be_visible()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").first).to_be_visible()


def test_on_a_new_computer_it_asks_nothing_and_calls_no_untouched_notebook_changed(
    start_page: Locator, server, page: Tab
) -> None:
    page.wait_for_timeout(LATE_QUESTIONS)
    expect(page.locator(QUESTIONS)).to_have_count(0)
    changed = page.locator(".lm-TabBar-tab.jp-mod-dirty")  # the mark of a document that is not saved
    notebook = open_notebook(page, server.address(f"lab/tree/notebooks/{LABS[1]}/{LABS[1]}.ipynb"))
    page.wait_for_timeout(LATE_QUESTIONS)
    expect(page.locator(QUESTIONS)).to_have_count(0)
    expect(changed).to_have_count(0)

    page.locator(".lm-DockPanel .lm-TabBar-tabLabel", has_text=f"{LABS[1]}.ipynb").click()
    notebook.locator(".jp-CodeCell", has_text="YOUR CODE HERE").first.locator(".cm-content").click()
    page.keyboard.type("# mine")
    expect(changed).not_to_have_count(0)  # so it would have been seen
