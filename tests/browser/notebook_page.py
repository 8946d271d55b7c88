"""What tests do with a notebook that JupyterLab shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, expect

NEVER_RAN = "[ ]:"
KERNEL_IS_READY = "Python 3 (ipykernel) | Idle"

# what a closed tab would ask (are changes lost?) is of no matter here, nor what a stopped kernel would tell
CLEAR = """async () => {
    for (const tab of [...jupyterapp.shell.widgets("main")]) tab.dispose();
    await jupyterapp.serviceManager.sessions.shutdownAll();
}"""


class Desk:
    """One JupyterLab in one page, in which notebooks are opened one after the other: to load JupyterLab takes ten times
    as long as to open a notebook in it. It has to be started with ``--LabApp.expose_app_in_browser=True``."""

    def __init__(self, server: Any, browser: Browser) -> None:
        self.root: Path = server.root
        self._server, self._browser, self._page, self._pages = server, browser, None, 0

    def open(self, path: str) -> Locator:
        """The notebook at ``path`` in the server's folder, its kernel ready."""
        if self._page is None:
            self._page = new_page(self._browser)
            self._pages += 1  # a workspace of its own: JupyterLab would open the tabs of the page before again
            self._page.goto(self._server.address(f"lab/workspaces/desk{self._pages}"))
            self._page.wait_for_function("!!window.jupyterapp", timeout=90_000)
            self._page.evaluate("jupyterapp.restored.then(() => null)")
        self._page.evaluate("path => jupyterapp.commands.execute('docmanager:open', {path}).then(() => null)", path)
        return _when_ready(self._page)

    def clear(self) -> None:
        """Closes what is open and stops its kernel; where that fails, the next notebook gets a new page."""
        try:
            self._page.evaluate(CLEAR)
            expect(self._page.locator(".jp-NotebookPanel")).to_have_count(0)
        except (AssertionError, Error):
            self.leave()

    def leave(self) -> None:
        if self._page is not None:
            self._page.close()
        self._page = None


def new_page(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    return page


def open_notebook(page: Page, address: str) -> Locator:
    """Opens a notebook and waits until its kernel is ready: before, JupyterLab answers "Run" with a dialog."""
    page.goto(address)
    return _when_ready(page)


def _when_ready(page: Page) -> Locator:
    notebook = page.locator(".jp-NotebookPanel:visible")  # others may be open beneath: JupyterLab remembers what was
    notebook.locator(".jp-Cell").first.wait_for()
    expect(page.get_by_text(KERNEL_IS_READY)).to_be_visible(timeout=90_000)
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
