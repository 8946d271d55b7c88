"""What formgrader must not do: run strangers' scripts with an instructor's rights, and grade by running answers itself.

``nbgrader_config.py`` hands these to nbgrader.
"""

from __future__ import annotations

from typing import Any

from nbconvert.exporters import NotebookExporter

from autograder.records.markdown import safe_markdown

__all__ = ["Refuse", "safe_markdown"]


class Refuse(NotebookExporter):
    """Stops ``nbgrader autograde`` before it touches anything."""

    def __init__(self, **_: Any):
        raise RuntimeError(
            "this course is graded by: course grade LAB --submissions DIR\n"
            "(nbgrader's own autograding would run the answers\nin one process with the hidden tests)"
        )
