"""What formgrader must not do: run strangers' scripts with an instructor's rights, and grade by running answers itself.

``nbgrader_config.py`` hands these to nbgrader.
"""

from __future__ import annotations

from typing import Any

import bleach
from nbconvert.exporters import NotebookExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TAGS = bleach.ALLOWED_TAGS | {
    *("p", "br", "hr", "pre", "div", "span", "img", "h1", "h2", "h3", "h4", "h5", "h6", "del", "sub", "sup"),
    *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "details", "summary"),
}


def safe_markdown(source: str) -> str:
    """Markdown to HTML for nbconvert's templates, with formulas, links and embedded pictures, and without scripts.

    Args:
        source: a cell's text, perhaps a student's.
    """
    source = source.replace(r"\href", r"\text")  # MathJax would make any link of it, javascript: too
    page = MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render(source)
    return bleach.clean(page, tags=TAGS, attributes=_is_harmless, protocols={"http", "https", "data"})


def _is_harmless(tag: str, attribute: str, value: str) -> bool:
    match tag, attribute:
        case "a", "href":
            return value.startswith(("https://", "http://", "#"))
        case "img", "src":  # a picture's address is fetched unasked, from this very server if it likes
            return value.startswith("data:image/")
        case "img", "alt" | "width" | "height":
            return True
        case "span" | "pre", "class":  # of highlighted code
            return True
    return False


class Refuse(NotebookExporter):
    """Stops ``nbgrader autograde`` before it touches anything."""

    def __init__(self, **_: Any):
        raise RuntimeError(
            "this course is graded by: course grade LAB --submissions DIR\n"
            "(nbgrader's own autograding would run the answers\nin one process with the hidden tests)"
        )
