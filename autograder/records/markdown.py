"""Markdown as pages show it: with formulas, links and embedded pictures, and with nothing that acts.

What formgrader, the marking page and feedback show of students' texts goes through here. Formulas become MathML, which
browsers show by themselves, without a script and without a network. Readers of markdown and of formulas take very long
for some texts, so they run in a child with limits.
"""

from __future__ import annotations

import functools
import re
from html import escape
from typing import Any

import bleach
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.processes.limited import Limited, Stopped
from autograder.sandbox.strangers import visible

TAGS = bleach.ALLOWED_TAGS | {
    *("p", "br", "hr", "pre", "div", "span", "img", "h1", "h2", "h3", "h4", "h5", "h6", "del", "sub", "sup"),
    *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "details", "summary"),
}


LONGEST_FORMULA = 5000  # characters; the labs' have 300


SECONDS = 3.0  # for one text; the longest of the labs' takes two hundredths


def safe_markdown(source: str) -> str:
    """Markdown to HTML. What takes too long is shown as it was written, with a word on that.

    Args:
        source: a cell's text, perhaps a student's.
    """
    try:
        return _limited().call("rendered", source)
    except Stopped as error:
        return as_written(source, str(error))


def as_written(source: str, why: str) -> str:
    """A text of which no page was made, as a page."""
    return f"<p><em>Shown as it was written: {escape(visible(why))}.</em></p><pre>{escape(visible(source))}</pre>"


@functools.cache
def _limited() -> Limited:
    return Limited({"rendered": rendered}, SECONDS)


def rendered(source: str) -> str:
    """Like `safe_markdown`, in this process and without limits: for the course's own texts."""
    source = re.sub("[\ue000\ue001]", "\ufffd", source)  # what formulas are marked with on their way
    renderer = _WithFormulas(escape=False, exclude_anchor_links=True)
    page = MarkdownWithMath(renderer=renderer).render(source)
    page = bleach.clean(page, tags=TAGS, attributes=_is_harmless, protocols={"http", "https", "data"})
    page = re.sub("\ue000(\\d+)\ue001", lambda match: renderer.formulas[int(match[1])], page)
    # only now are entities characters; a formula that could not be read is shown as written, not run by MathJax
    return f'<div class="tex2jax_ignore mathjax_ignore">{visible(page)}</div>'


class _WithFormulas(IPythonRenderer):
    """Keeps formulas aside, so that what cleans the page need not know MathML; it would not know its attributes."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.formulas: list[str] = []

    def inline_math(self, body: str) -> str:
        return self._aside(body, "inline", f"${body}$")

    def block_math(self, body: str) -> str:
        return self._aside(body, "block", f"$${body}$$")

    def latex_environment(self, name: str, body: str) -> str:
        whole = f"\\begin{{{name}}}{body}\\end{{{name}}}"
        return self._aside(whole, "block", whole)

    def _aside(self, formula: str, display: str, written: str) -> str:
        self.formulas.append(_mathml(formula, display) or f"<code>{escape(written)}</code>")
        return f"\ue000{len(self.formulas) - 1}\ue001"


def _mathml(formula: str, display: str) -> str:
    """Empty if it is no formula that is understood, or one that is more than a formula."""
    if len(formula) > LONGEST_FORMULA:
        return ""
    try:
        from latex2mathml.converter import convert

        page = convert(formula, display=display)
    except Exception:  # a stranger's text: whatever it does to the converter, it is shown as it was written
        return ""
    tags, attributes = re.findall(r"</?([a-zA-Z]\w*)", page), re.findall(r"<[^>]*?\s(\w+)=", page)
    known = all(tag.startswith("m") for tag in tags) and not {"href", "src", "style", "class", "id"} & {*attributes}
    return page if known else ""


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
