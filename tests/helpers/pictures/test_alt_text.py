"""A figure in words, and that a notebook shows it with them."""

from __future__ import annotations

import base64
import io
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from PIL import Image

from course_utils.demos import bit_toggler, number_line
from course_utils.pictures import alt_text
from course_utils.pictures.alt_text import describe, describe_figures


def test_a_figure_tells_titles_axes_and_legends():
    figure = Figure()
    figure.suptitle("Two plots")
    left, right = figure.subplots(1, 2)
    left.set(title="Error of $x$", xlabel="bits\nper value", ylabel="SQNR (dB)")
    left.plot([1, 2], label="ours")
    left.plot([1, 3], label="_helper line")
    right.text(0, 0, "only a word")
    told = "Two plots. Error of x; x: bits per value; y: SQNR (dB); shown: ours. only a word"
    assert describe(figure) == told


def test_what_the_author_says_comes_first():
    figure = Figure()
    figure.subplots().set_title("title")
    figure.set_label("The error halves\nwith every bit")
    assert describe(figure) == "The error halves with every bit"


def test_plots_that_say_the_same_are_told_once_and_silent_ones_are_counted():
    figure = Figure()
    for axes in figure.subplots(1, 3):
        axes.set_xlabel("column")
    assert describe(figure) == "x: column"
    silent = Figure()
    silent.subplots(1, 3)
    assert describe(silent) == "Picture with 3 plots and no title"


@pytest.mark.parametrize(
    ("still", "numbers"),
    [
        (lambda: bit_toggler.bit_toggler_still(((0.1, "e4m3"), (1.0, "float16"))), ["0.1015625", "2^0 = 1"]),
        (lambda: number_line.number_line_still(((3, 4), (5, 2))), ["largest 15.5", "largest 57344"]),
    ],
)
def test_stills_tell_the_numbers_of_every_setting(still, numbers):
    told = describe(still())
    assert all(number in told for number in numbers)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch):
    """A notebook's shell, as far as pictures are concerned."""
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr(InteractiveShell, "_instance", shell)
    yield shell
    InteractiveShell.clear_instance()


def test_a_notebook_shows_a_figure_as_an_image_with_its_words(shell):
    describe_figures()
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().set_title('<b> & "quotes"')
    with capture_output() as captured:
        shell.display_formatter.format(figure)
    (output,) = captured.outputs
    assert set(output.data) == {"text/plain", "text/html"}, "no bare image beside it"
    assert output.data["text/plain"] == '<b> & "quotes"'
    alternative, data = re.fullmatch(r'<img alt="([^"]+)" src="data:[^,]+,([^"]+)">', output.data["text/html"]).groups()
    assert alternative == "&lt;b&gt; &amp; &quot;quotes&quot;"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 20


def test_an_empty_figure_has_words_and_no_image(shell):
    describe_figures()
    with capture_output() as captured:
        shell.display_formatter.format(Figure())
    assert captured.outputs[0].data == {"text/plain": "Picture with 0 plots and no title"}


def test_outside_a_notebook_nothing_happens(monkeypatch):
    monkeypatch.delitem(alt_text.sys.modules, "IPython")
    describe_figures()
