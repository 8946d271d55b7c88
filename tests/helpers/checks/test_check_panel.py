"""The panel under a check cell: its three forms, its hints, its pictures."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from nbclient import NotebookClient
from nbformat import v4

from course_utils.checks import panel
from course_utils.checks.expectations import CheckFailed, expect_close, expect_equal
from course_utils.checks.hints import further_hints
from course_utils.checks.panel import Difference, Panel, draw_difference
from course_utils.checks.progress import VERDICT

HINTS = """
[quantize_tensor]
idea = "Take <the> nearest grid point."
steps = '''
1. Divide.
2. Round.
'''
"""

CELLS = [
    "import torch\nfrom course_utils.checks.expectations import check, expect, expect_equal\n"
    "def stub(): raise NotImplementedError('stub')",
    "with check('right'):\n    expect(True, 'a rule that holds')",
    "with check('quantize_tensor'):\n    expect(True, 'first')\n"
    "    expect_equal(torch.zeros(8), torch.arange(8.0), 'the broken rule', hint='look <here>')",
    "with check('stub'):\n    stub()",
    "with check('raises'):\n    1 / 0",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list]:
    """What the cells leave in a notebook that a kernel ran."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "hints.toml").write_text(HINTS, encoding="utf-8")
    notebook = v4.new_notebook(cells=[v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": folder}}).execute()
    return [cell.outputs for cell in notebook.cells[1:]]


class Shape(HTMLParser):
    """What is inside what."""

    def __init__(self, source: str):
        super().__init__()
        self.depth = self.deepest = 0
        self.texts: list[str] = []
        self.images: list[dict] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.depth += tag == "details"
        self.deepest = max(self.depth, self.deepest)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "details"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_passed_check_leaves_its_verdict_as_data(outputs):
    (panel,) = outputs[0]
    assert panel.output_type == "display_data"
    assert panel.data[VERDICT]["passed"] is True and panel.data[VERDICT]["exercise"] == "right"
    assert panel.data["text/plain"].startswith("✓ right: 1 rule holds, 1 case, ")
    assert "a rule that holds" in panel.data["text/html"]


def test_a_failed_check_tells_all_and_the_cell_has_failed(outputs):
    panel, error = outputs[1]
    assert panel.data[VERDICT]["passed"] is False
    assert error.ename == "CheckFailed"
    assert error.traceback == ["✗ rule broken: the broken rule (see the panel above)"]
    shape = Shape(panel.data["text/html"])
    for fact in (
        "the broken rule",
        "1 at [1], 7 of 8 elements differ",
        "look <here>",
        "Take <the> nearest grid point.",
    ):
        assert any(fact in text for text in [*shape.texts, panel.data["text/plain"]]), fact
    assert shape.deepest == 3, "every level of hints is opened from the one before"
    assert list(panel.data[VERDICT]["hints"]) == ["where to look", "the idea", "the steps"]
    (image,) = shape.images
    assert image["alt"] == "yours differs from the target at 7 of 8 places, by 7 at most"


def test_a_stub_and_an_error_are_failures_too(outputs):
    for (shown, error), name in ((outputs[2], "CheckFailed"), (outputs[3], "ZeroDivisionError")):
        assert shown.data[VERDICT]["passed"] is False
        assert error.ename == name
    assert "stub is written" in outputs[2][0].data["text/html"]
    assert "ZeroDivisionError: division by zero" in outputs[3][0].data["text/html"]


def test_outside_a_notebook_there_is_no_panel():
    assert not panel.in_notebook()


def test_hints_of_an_unknown_exercise_and_without_a_file_are_none(tmp_path: Path):
    assert further_hints("double", tmp_path) == {}
    (tmp_path / "hints.toml").write_text(HINTS, encoding="utf-8")
    assert further_hints("double", tmp_path) == {}
    assert further_hints("quantize_tensor", tmp_path)["the steps"] == "1. Divide.\n2. Round."


@pytest.mark.parametrize("content", [b"[double\n", b"\xff\xfe", b'double = "no table"'])
def test_a_broken_hints_file_costs_nobody_the_verdict(content: bytes, tmp_path: Path):
    (tmp_path / "hints.toml").write_bytes(content)
    hints = further_hints("double", tmp_path)
    assert len(hints) == 1 and "hints.toml cannot be read" in next(iter(hints.values()))


def difference_of(got: torch.Tensor, expected: torch.Tensor, **more) -> Difference | None:
    with pytest.raises(CheckFailed) as failed:
        expect_close(got, expected, "a rule", **({"within": 0.125} | more))
    return failed.value.difference


def test_numbers_along_a_line_are_drawn_over_the_input():
    x = torch.linspace(-1, 1, 50)
    figure = draw_difference(difference_of((4 * x).floor() / 4, (4 * x).round() / 4, given=x))
    target, yours, gap = figure.axes
    assert target.get_xlabel() == "input" and target.get_ylim() == yours.get_ylim()
    crosses = yours.lines[1].get_xydata()
    expected = [(a, b, c) for a, b, c in zip(x, (4 * x).floor() / 4, (4 * x).round() / 4, strict=True)]
    assert len(crosses) == sum(abs(b - c) > 0.125 for _, b, c in expected)
    assert gap.get_legend() is not None


def test_matrices_are_drawn_as_maps_of_one_scale():
    expected = torch.arange(24.0).reshape(2, 3, 4)
    got = expected.clone()
    got[1, 2, 3] = 99
    figure = draw_difference(difference_of(got, expected))
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in maps] == ["target: what the rule asks, [1]", "yours, [1]"]
    assert maps[0].images[0].get_clim() == maps[1].images[0].get_clim() == (12, 99)
    assert maps[1].lines[0].get_xydata().tolist() == [[3, 2]]


def test_nan_and_infinity_can_be_drawn():
    expected = torch.arange(10.0)
    got = expected.clone()
    got[3], got[4] = torch.nan, torch.inf
    for shape in ((10,), (2, 5)):
        difference = difference_of(got.reshape(shape), expected.reshape(shape))
        assert difference.summary == "yours differs from the target at 2 of 10 places"
        draw_difference(difference).savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize("size", [1, 3, 30_000])
def test_little_and_much_is_not_drawn(size: int):
    assert difference_of(torch.ones(size), torch.zeros(size)) is None
    with pytest.raises(CheckFailed) as failed:
        expect_equal("a", "b", "a rule")
    assert failed.value.difference is None


def test_text_is_escaped():
    panel = Panel("<b>", {}, "<i>", {"got": "<script>"}, {"the idea": "<u>"})
    assert not any(tag in panel.html() for tag in ("<b>", "<i>", "<script>", "<u>"))
