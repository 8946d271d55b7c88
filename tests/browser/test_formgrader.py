"""nbgrader's formgrader, opened in JupyterLab in the course's folder, shows its labs, submissions and grades."""

from __future__ import annotations

import copy
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from playwright.sync_api import FrameLocator, Page, expect

from autograder import ROOT
from autograder.cli import main
from autograder.labs.build import build, release, release_path
from autograder.labs.lab import Lab
from autograder.records.gradebook import nbgrader_id

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SOURCE = """\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
# ---

# %%
from course_utils.checks.expectations import check, expect_equal

# %% nbgrader={"grade_id": "double", "solution": true}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade_id": "check_double", "grade": true, "points": 2}
with check("double"):
    expect_equal(double(3), 6, "the double of 3 is 6")
    ### BEGIN HIDDEN TESTS
    expect_equal(double(1234567), 2469134, "large numbers are doubled")
    ### END HIDDEN TESTS

# %% [markdown] nbgrader={"grade_id": "why", "grade": true, "solution": true, "points": 3}
# The model answer.
"""

LAB = "00_tiny"
HOSTILE = "<b>eve"
RAN = "document.documentElement.dataset.ran = 1"
SCRIPTS = f'Eve says <script>{RAN}</script><img src="x" onerror="{RAN}"> [so](javascript:alert(1)).'
ANSWERS = {
    "ann": {"double": "def double(x):\n    return x + x", "why": "Because of ann."},
    HOSTILE: {"double": "def double(x):\n    return 6", "why": SCRIPTS},
}


class Course:
    """A course of one lab in a folder of its own, with the configuration of this repository."""

    def __init__(self, root: Path):
        self.root, self.grades = root, root / "build" / "grades"
        shutil.copy(ROOT / "nbgrader_config.py", root)
        source = root / "solutions" / LAB / f"{LAB}.py"
        source.parent.mkdir(parents=True)
        source.write_text(SOURCE, encoding="utf-8")
        self.lab = Lab(LAB, root)
        build(self.lab)
        for student, answers in ANSWERS.items():
            notebook = copy.deepcopy(release(self.lab))
            for cell in notebook.cells:
                cell.source = answers.get(cell["id"], cell.source)
            self.submit(student, nbformat.writes(notebook))
        self.submit("zed", "not a notebook")
        self.grade()

    def submit(self, student: str, content: str) -> None:
        path = self.root / "inbox" / student / f"{LAB}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")

    def grade(self) -> None:
        command = ["--root", self.root, "grade", LAB, "--submissions", self.root / "inbox", "--output", self.grades]
        main([str(word) for word in command], standalone_mode=False)

    def autograded(self, student: str) -> Path:
        return self.grades / "autograded" / student / LAB / f"{LAB}.ipynb"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    return Course(tmp_path_factory.mktemp("course"))


@pytest.fixture
def formgrader(course: Course, lab_server, page: Page) -> FrameLocator:
    """formgrader's tab in JupyterLab, opened through the menu."""
    page.goto(lab_server.address("lab"))
    page.locator(".lm-MenuBar-itemLabel", has_text="Nbgrader").click()
    page.locator(".lm-Menu-itemLabel", has_text="Formgrader").first.click()
    return page.frame_locator('iframe[src*="formgrader"]')


@pytest.fixture(scope="module")
def lab_server(course: Course, start_lab: Callable):
    """As `make lab` starts it; this course has no start page, which keeps nobody from anything."""
    return start_lab(course.root, command=[sys.executable, "-m", "autograder.cli", "--root", str(course.root), "lab"])


def open_submissions(formgrader: FrameLocator) -> None:
    formgrader.locator("td.num-submissions a").click()
    formgrader.get_by_role("heading", name="Manage Submissions").wait_for()


def test_jupyterlab_opens_on_the_notebooks(lab_server, page: Page) -> None:
    page.goto(lab_server.address("lab"))
    expect(page.locator(".jp-DirListing-itemName")).to_have_text([LAB], timeout=30_000)


def test_formgrader_lists_the_lab_with_its_submissions(formgrader: FrameLocator) -> None:
    row = formgrader.locator("tr", has_text=LAB)
    expect(row.locator("td.num-submissions")).to_have_text("3")


def test_formgrader_shows_students_and_scores(formgrader: FrameLocator, page: Page) -> None:
    open_submissions(formgrader)
    for student, status, score in [("ann", "needs manual grading", "2 / 5"), ("zed", "graded", "0 / 5")]:
        row = formgrader.locator("tr", has=page.locator("td.student-id", has_text=student))
        expect(row.locator(".status")).to_have_text(status)
        expect(row.locator(".score")).to_have_text(score)
    expect(formgrader.locator("td.student-id", has_text="eve")).to_have_text(nbgrader_id(HOSTILE))


def test_autograde_refuses_and_touches_nothing(formgrader: FrameLocator, course: Course, page: Page) -> None:
    before = course.autograded("ann").read_bytes()
    open_submissions(formgrader)
    formgrader.locator("tr", has=page.locator("td.student-id", has_text="ann")).locator(".autograde a").click()
    expect(formgrader.locator(".modal-body")).to_contain_text("this course is graded by: course grade")
    assert course.autograded("ann").read_bytes() == before


def test_generate_gives_the_bytes_of_course_build(formgrader: FrameLocator, course: Course) -> None:
    path = release_path(course.lab)
    before = path.read_bytes()
    path.write_bytes(b"overwritten, so that one sees that the button does something")
    formgrader.locator("td.generate-assignment a, td.assign a").first.click()
    expect(formgrader.locator(".modal-body")).to_contain_text("success", ignore_case=True, timeout=60_000)
    assert path.read_bytes() == before


def open_answer(formgrader: FrameLocator, text: str) -> None:
    """Opens the submission that holds this text; students are anonymous where answers are graded by hand."""
    formgrader.get_by_role("link", name="Manual Grading").click()
    formgrader.get_by_role("link", name=LAB).click()
    formgrader.locator("td.name a").click()
    formgrader.get_by_role("link", name="Submission #1").click()
    for _ in range(3):
        formgrader.locator("li.next a").wait_for()
        if formgrader.get_by_text(text).count():
            return
        formgrader.locator("li.next a").click()
        formgrader.locator("body").page.wait_for_timeout(500)
    pytest.fail(f"no submission shows {text!r}")


def test_scripts_in_an_answer_do_not_run(formgrader: FrameLocator, page: Page) -> None:
    open_answer(formgrader, "Eve says")
    page.wait_for_timeout(1000)
    assert formgrader.locator("html").get_attribute("data-ran") is None
    assert formgrader.locator('a[href^="javascript:"]').count() == 0


def test_a_person_grades_a_written_answer_and_regrading_keeps_it(
    formgrader: FrameLocator, course: Course, page: Page
) -> None:
    open_answer(formgrader, "Because of ann.")
    expect(formgrader.get_by_text("passed: 2 of 2 points")).to_be_visible()
    score = formgrader.locator("input.score").last
    expect(score).to_have_class(re.compile("needs_manual_grade"))  # grades come after the page: typed before, lost
    score.fill("1.5")
    with page.expect_response(lambda r: "/formgrader/api/grade/" in r.url and r.request.method == "PUT"):
        score.blur()

    course.grade()
    rows = pd.read_csv(course.grades / f"{LAB}.csv", keep_default_na=False).set_index(["student", "question"])
    assert tuple(rows.loc[("ann", "why"), ["score", "status"]]) == (1.5, "graded by hand")


def test_feedback_shows_verdicts_and_hides_hidden_checks(formgrader: FrameLocator, course: Course) -> None:
    formgrader.locator("td.generate-feedback a").click()
    expect(formgrader.locator(".modal-body")).to_contain_text("success", ignore_case=True, timeout=120_000)
    for student in ANSWERS:
        page = (course.grades / "feedback" / nbgrader_id(student) / LAB / f"{LAB}.html").read_text(encoding="utf-8")
        assert "2469134" not in page and "HIDDEN TESTS" not in page and f"<script>{RAN}" not in page
    assert "rule broken: large numbers are doubled" in page
