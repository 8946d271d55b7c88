"""What tests do with a notebook that JupyterLab shows."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

NEVER_RAN = "[ ]:"


def open_notebook(page: Page, address: str) -> Locator:
    """Opens a notebook and waits until its kernel is ready: before, JupyterLab answers "Run" with a dialog."""
    page.goto(address)
    notebook = page.locator(".jp-NotebookPanel")
    notebook.locator(".jp-Cell").first.wait_for()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=90_000)
    return notebook


def run_all(notebook: Locator) -> None:
    """Presses Run All Cells; again, should JupyterLab not have listened yet."""
    for _ in range(5):
        notebook.page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        notebook.page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
        for _ in range(20):
            notebook.page.wait_for_timeout(500)
            if prompts(notebook).filter(has_not_text=NEVER_RAN).count():
                return
    pytest.fail("JupyterLab does not run the cells")


def prompts(notebook: Locator) -> Locator:
    """``[ ]:`` of a code cell that never ran, ``[*]:`` of one that waits or runs, ``[3]:`` of one that has run."""
    return notebook.locator(".jp-CodeCell .jp-InputPrompt")
