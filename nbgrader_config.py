"""Tells nbgrader's own tools, formgrader above all, where this course keeps things.

nbgrader reads this file when it, or JupyterLab, is started in this folder. Labs are built by `course build` and graded
by `course grade`; formgrader is for looking at submissions, grading written answers by hand, and feedback.
"""

import os
import sys
from pathlib import Path

from autograder.for_nbgrader.feedback import FeedbackPage
from autograder.for_nbgrader.formgrader import Refuse, safe_markdown
from autograder.labs.build import PREPROCESSORS

ROOT = Path(__file__).resolve().parent
GRADES = "build/grades"

c = get_config()  # noqa: F821  given by whoever reads this file

c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.source_directory = "build/source"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = f"{GRADES}/submitted"
c.CourseDirectory.autograded_directory = f"{GRADES}/autograded"
c.CourseDirectory.feedback_directory = f"{GRADES}/feedback"
c.CourseDirectory.db_url = f"sqlite:///{ROOT / GRADES / 'gradebook.db'}"
# nbgrader deletes what is in its way when it writes; our sources lie in a folder of almost the default name.
c.CourseDirectory.solution_directory = "build/solution"
c.CourseDirectory.source_with_tests_directory = "build/source_with_tests"

c.GenerateAssignment.preprocessors = PREPROCESSORS  # formgrader's Generate gives the bytes that `course build` gives
c.Autograde.exporter_class = Refuse  # formgrader's Autograde
c.HTMLExporter.filters = {"markdown2html": safe_markdown}  # formgrader shows answers with an instructor's rights
c.GenerateFeedback.exporter_class = FeedbackPage  # the page that `course feedback` writes
c.FeedbackPage.root = str(ROOT)
c.FormgradeExtension.debug = False  # it would print this configuration, which is more than text

# Where nothing was graded yet, formgrader makes an empty gradebook; nbgrader calls `alembic` by name for that.
(ROOT / GRADES).mkdir(parents=True, exist_ok=True)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
