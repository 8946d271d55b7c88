"""The panel under a check cell in JupyterLab: the facts are there, and hints open one by one from the keyboard."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from notebook_page import open_notebook, run_all
from playwright.sync_api import Page, expect

from autograder.labs.build import release
from autograder.labs.lab import Lab

LAB, EXERCISE = "02_quantization_helpers", "quantize_tensor"


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """The first exercise of a lab with an answer that cuts off where it should round; nothing after its check."""
    lab = Lab(LAB)
    notebook = copy.deepcopy(release(lab))
    ids = [cell["id"] for cell in notebook.cells]
    notebook.cells = notebook.cells[: ids.index(f"check_{EXERCISE}") + 1]
    reference = next(c.source for c in lab.exercises if c.id == EXERCISE)
    notebook.cells[ids.index(EXERCISE)].source = reference.replace("torch.round(x", "torch.trunc(x")
    nbformat.write(notebook, tmp_path / f"{LAB}.ipynb")
    shutil.copy(lab.hints_path, tmp_path)
    return tmp_path


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_a_failing_check_shows_its_panel(failing: Path, start_lab: Callable, page: Page) -> None:
    notebook = open_notebook(page, start_lab(failing).address(f"lab/workspaces/panel/tree/{LAB}.ipynb"))
    run_all(notebook)
    panel = notebook.get_by_role("region", name=f"check of {EXERCISE}: not yet")
    panel.wait_for(timeout=120_000)
    for fact in ("a code is round(x / scalefactor) + zeropoint", "2 at [3], 3 of 5 elements differ", "142", "141"):
        expect(panel).to_contain_text(fact)
    expect(panel.locator("img")).to_have_attribute(
        "alt", "yours differs from the target at 3 of 5 places, by 1 at most"
    )
    hints = panel.locator("summary")
    expect(hints.locator("visible=true")).to_have_count(1)
    hints.first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(panel.get_by_text("Return the three results")).to_be_visible()
