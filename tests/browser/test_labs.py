"""Every solution notebook, and that of the demos, runs in JupyterLab without an error or a warning, the demos answer to
mouse and keyboard, every picture has a text alternative, and a second run by nbval gives the same outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from notebook_page import NEVER_RAN, Desk, prompts, run_all
from playwright.sync_api import Browser, Locator, expect

from autograder import ROOT
from autograder.labs.lab import Lab, lab_names
from autograder.labs.pages import DEMOS
from autograder.labs.pages import Page as DemoPage

pytestmark = pytest.mark.timeout(900)

RUN_SECONDS = 480  # a lab is made to run in one minute; a slow and busy machine takes much longer

SANITIZE = Path(__file__).parents[1] / "nbval_sanitize.cfg"
NBVAL = [
    *("-p", "nbval.plugin", "--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}", "--quiet"),
    *("-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider", "-p", "no:faulthandler"),
]

LOUD = "application/vnd.jupyter.error", "application/vnd.jupyter.stderr"  # what JupyterLab shows in red
SLIDER, MENU, BUTTON = ".noUi-handle", ".widget-dropdown select", ".widget-button"
CONTROLS = f"{SLIDER}, {MENU}"
REACH = """all => {
    document.activeElement.dataset.reached = "by Tab";
    return all.filter(c => !c.dataset.reached).length;
}"""

NOTEBOOKS = [*lab_names(ROOT), DEMOS]


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every lab's solution notebook, and the demos."""
    root = tmp_path_factory.mktemp("answered")
    for name in NOTEBOOKS:
        (root / name).mkdir()
        notebook = DemoPage(DEMOS).notebook if name == DEMOS else Lab(name).instructor_notebook
        nbformat.write(notebook, root / name / f"{name}.ipynb")
    return root


@pytest.fixture(scope="module")
def desk(start_lab: Callable, notebooks: Path, browser: Browser) -> Iterator[Desk]:
    desk = Desk(start_lab(notebooks, "--LabApp.expose_app_in_browser=True"), browser)
    yield desk
    desk.leave()


@pytest.fixture
def tidy(desk: Desk) -> Iterator[Desk]:
    yield desk
    desk.clear()


@pytest.mark.browser
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_and_its_demos_move(name: str, tidy: Desk) -> None:
    notebook = tidy.open(f"{name}/{name}.ipynb")
    page = notebook.page
    run_all(notebook)
    expect(prompts(notebook).filter(has_text="*")).to_have_count(0, timeout=1000 * RUN_SECONDS)

    for kind in LOUD:
        errors = notebook.locator(f'[data-mime-type="{kind}"]')
        assert errors.count() == 0, errors.first.inner_text()
    assert not prompts(notebook).filter(has_text=NEVER_RAN).count()
    save(notebook, tidy.root / name / f"{name}.ipynb")

    mute = notebook.locator(".jp-OutputArea-output img").evaluate_all("all => all.filter(i => !i.alt).length")
    assert mute == 0, f"{mute} pictures without a text alternative"
    demos = notebook.locator(".jp-OutputArea-output", has=page.locator(CONTROLS))
    if demos.count() == 0:
        pytest.skip(f"{name} has no sliders and no menus: no demo of it was tested")
    for number in range(demos.count()):
        check_demo(demos.nth(number))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_second_run_gives_the_same_outputs(
    name: str, notebooks: Path, embedded: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebooks / name / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    if not has_outputs(notebook):  # no browser ran it
        client = NotebookClient(notebook, timeout=RUN_SECONDS, resources={"metadata": {"path": path.parent}})
        client.execute(env=embedded)
        nbformat.write(notebook, path)
    # deterministic is what one machine gives twice: outputs from another one would differ in their last digits
    cells = run_again(path, embedded, monkeypatch)
    assert not cells.failures, "\n".join(cells.failures)[-8000:]
    assert cells.passed == sum(cell.cell_type == "code" for cell in notebook.cells)


def test_what_a_second_run_changes_is_told(
    tmp_path: Path, embedded: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(source: str, text: str) -> nbformat.NotebookNode:
        return nbformat.v4.new_code_cell(
            source, execution_count=1, outputs=[nbformat.v4.new_output("stream", name="stdout", text=text)]
        )

    cells = [ran("print(1)", "1\n"), ran("print(id(print))", "7\n"), ran("print('took 3 s')", "took 4 s\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "twice.ipynb")
    found = run_again(tmp_path / "twice.ipynb", embedded, monkeypatch)
    assert found.passed == 2
    assert len(found.failures) == 1 and "Cell outputs differ" in found.failures[0]


def run_again(path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Cells:
    """Runs a notebook in a new kernel, and compares its outputs with those that it holds, by nbval: in this process,
    which has imported already what takes five seconds to import."""
    for variable in os.environ.keys() - environment.keys():
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(path.parent)
    cells = Cells()
    ended = pytest.main([*NBVAL, path.name], plugins=[cells])
    assert ended in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert cells.failures or ended == pytest.ExitCode.OK
    return cells


class Cells:
    """What nbval says of the cells of a notebook: how many ran as before, and what is the matter with the others."""

    def __init__(self) -> None:
        self.passed, self.failures = 0, []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed
        if report.failed:
            self.failures.append(report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append(report.longreprtext)


def has_outputs(notebook: nbformat.NotebookNode) -> bool:
    return any(cell.get("outputs") for cell in notebook.cells)


def save(notebook: Locator, path: Path) -> None:
    """Saves the notebook with its outputs, as Ctrl-S does."""
    notebook.page.keyboard.press("Control+s")
    for _ in range(40):
        notebook.page.wait_for_timeout(250)
        with contextlib.suppress(nbformat.reader.NotJSONError):  # JupyterLab is just writing it
            if has_outputs(nbformat.read(path, as_version=4)):
                return
    pytest.fail(f"JupyterLab did not save {path.name}")


def check_demo(demo: Locator) -> None:
    """Drives a demo and expects other pictures: every slider by the arrow keys, the first also by the mouse, all menus,
    every fourth button by the space bar.

    A slider's picture must change for at least one step; a menu's, with the first other entry.
    """
    demo.scroll_into_view_if_needed()
    assert pictures(demo), "a demo has controls but no picture"
    reach_by_tab(demo)
    handles, menus, buttons = demo.locator(SLIDER), demo.locator(MENU), demo.locator(BUTTON)
    for number in range(handles.count()):
        handle, before = handles.nth(number), pictures(demo)
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        for key in ["ArrowLeft"] * 3 if at_end else ["ArrowRight"] * 3 + ["ArrowLeft"] * 3:
            handle.press(key)
            if changed(demo, before):
                break
        else:
            pytest.fail(f"slider {number} moves and the picture stays as it is")
    if handles.count():
        drag(demo, handles.first)
    for number in range(menus.count()):
        menu, before = menus.nth(number), pictures(demo)
        other = menu.evaluate("menu => menu.selectedIndex === 0 ? 1 : 0")
        menu.select_option(index=other)
        assert changed(demo, before), f"menu {number} has another entry and the picture stays as it is"
    # not all, as there may be one for every bit of a number; from the last on, as the first one chooses a format, which
    # is there already until another one was chosen
    for number in reversed(range(0, buttons.count(), 4)):
        if buttons.nth(number).is_visible():
            before = pictures(demo)
            buttons.nth(number).press("Space")
            assert changed(demo, before), f"button {number} was pressed and the picture stays as it is"


def reach_by_tab(demo: Locator) -> None:
    """Goes through a demo by the Tab key alone, from its first control on."""
    controls = demo.locator(f"{CONTROLS}, {BUTTON}").locator("visible=true")
    controls.first.focus()
    for _ in range(3 * controls.count()):  # a slider's number is a stop of its own
        missed = controls.evaluate_all(REACH)
        if not missed:
            break
        demo.page.keyboard.press("Tab")
    assert missed == 0, f"{missed} of {controls.count()} controls are not reached by the Tab key"


def drag(demo: Locator, handle: Locator) -> None:
    """Drags a slider by the mouse to the other half of its way."""
    before, track = pictures(demo), handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]")
    handle.scroll_into_view_if_needed()
    ends, place = track.bounding_box(), handle.bounding_box()
    here, middle = place["x"] + place["width"] / 2, ends["x"] + ends["width"] / 2
    there = ends["x"] + ends["width"] * (0.1 if here > middle else 0.9)
    height = place["y"] + place["height"] / 2
    mouse = demo.page.mouse
    mouse.move(here, height)
    mouse.down()
    mouse.move(there, height, steps=5)
    mouse.up()
    assert changed(demo, before), "the first slider was dragged and the picture stays as it is"


def changed(demo: Locator, before: list[str]) -> bool:
    for _ in range(100):
        demo.page.wait_for_timeout(50)
        if pictures(demo) != before:
            return True
    return False


def pictures(demo: Locator) -> list[str]:
    return demo.locator("img, svg").evaluate_all("all => all.map(p => p.src || p.outerHTML)")
