"""What formgrader shows of a written answer: its words, formulas and pictures, and nothing that acts."""

from __future__ import annotations

import re

import pytest

from autograder.for_nbgrader.formgrader import safe_markdown


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
        "```html\n<script>alert(1)</script>\n```",
    ],
)
def test_nothing_acts(source: str) -> None:
    page = safe_markdown(source).lower()
    assert r"\href" not in page
    for tag in re.findall("<[^>]*>", page):  # what is escaped has no <
        assert not re.search(r"^</?(script|svg|iframe|style|form|button)|\b(on\w+|src|href|style)=", tag), tag


def test_what_teaches_stays() -> None:
    page = safe_markdown(
        "# Title\n\n*Why* $q < 2^n$ holds: [here](https://example.org)\n\n| a |\n|---|\n| 1 |\n\n"
        "```python\nx = 1\n```\n\n![dot](data:image/png;base64,AAAA)"
    )
    for part in ("<h1>", "<em>Why</em>", "$q &lt; 2^n$", '<a href="https://example.org">', "<td>1</td>", "<pre>"):
        assert part in page
    assert 'src="data:image/png;base64,AAAA"' in page
