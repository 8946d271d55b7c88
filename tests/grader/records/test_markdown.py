"""What formgrader shows of a written answer: its words, formulas and pictures, and nothing that acts."""

from __future__ import annotations

import re

import pytest

from autograder.labs.lab import Lab, lab_names
from autograder.records.markdown import safe_markdown


def shown(source: str) -> str:
    """The page without what tells MathJax to leave it alone: a formula that is not understood stays text there too."""
    page = safe_markdown(source)
    start, end = '<div class="tex2jax_ignore mathjax_ignore">', "</div>"
    assert page.startswith(start) and page.endswith(end)
    return page.removeprefix(start).removesuffix(end)


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        "<svg/onload=alert(1)>",
        "<iframe src='/lab'></iframe>",
        "<style>* { display: none }</style>",
        "<form action='/formgrader/api/grade/1'><button>",
        "[so](javascript:alert(1))",
        "<a href=' javascript:alert(1)'>so</a>",
        "[so](data:text/html;base64,PHNjcmlwdD4=)",
        "![](/formgrader?path=/somewhere)",
        "![](https://elsewhere.example/seen.png)",
        r"$\href{javascript:alert(1)}{x}$",
        r"&#36;\href{javascript:alert(1)}{x}&#36;",
        "```html\n<script>alert(1)</script>\n```",
    ],
)
def test_nothing_acts(source: str) -> None:
    page = shown(source).lower()
    for tag in re.findall("<[^>]*>", page):  # what is escaped has no <
        assert not re.search(r"^</?(script|svg|iframe|style|form|button)|\b(on\w+|src|href|style)=", tag), tag


def test_what_teaches_stays() -> None:
    page = safe_markdown(
        "# Title\n\n*Why* $q < 2^n$ holds: [here](https://example.org)\n\n| a |\n|---|\n| 1 |\n\n"
        "```python\nx = 1\n```\n\n![dot](data:image/png;base64,AAAA)"
    )
    for part in ("<h1>", "<em>Why</em>", '<a href="https://example.org">', "<td>1</td>", "<pre>"):
        assert part in page
    assert 'src="data:image/png;base64,AAAA"' in page
    assert re.search(r"<math[^>]*><mrow><mi>q</mi><mo>&#x0003C;</mo><msup><mn>2</mn><mi>n</mi></msup>", page)


@pytest.mark.parametrize(
    "formula",
    [
        r"\text{<script>alert(1)</script>}",
        r"\class{x}{y}",
        r"\frac{1}{",
        "x" * 10_000,
        r"{" * 3000,
        "\ue0000\ue001",
        r"\style{background:url(https://elsewhere.example)}{x}",
    ],
)
def test_what_is_no_formula_stays_text(formula: str) -> None:
    page = shown(f"before ${formula}$ after")
    assert "before" in page and "after" in page
    tags = set(re.findall(r"<\s*/?([a-z]+)", page))
    assert tags <= {"p", "code", *(tag for tag in tags if tag.startswith("m"))}
    assert not re.search(r"<[^>]*\b(href|src|style|class)=", page)


@pytest.mark.parametrize("name", lab_names())
def test_every_formula_of_the_labs_can_be_shown(name: str) -> None:
    for cell in Lab(name).cells:
        if not cell.is_code:
            assert "<code>$" not in safe_markdown(cell.source), cell.id
