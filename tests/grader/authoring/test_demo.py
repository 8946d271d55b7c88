"""`course demo` finds a demo on the page, moves its controls, and says what is amiss."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder.authoring.demo import try_demo
from autograder.cli import main
from autograder.errors import CourseError

PAGE = """# %%
import ipywidgets as widgets
from matplotlib.figure import Figure

# %%
raise RuntimeError("no demo needs this cell")

# %%
def bars_demo():
    slider = widgets.IntSlider(value=3, min=1, max=8, description="bits")
    picture = widgets.HTML()

    def update(_=None):
        picture.value = f'<img alt="{2**slider.value} codes" src="data:,{slider.value}">'

    slider.observe(update, names="value")
    update()
    return widgets.VBox([slider, picture])


def bars_still():
    figure = Figure()
    figure.set_label("8 codes")
    return figure

# %%
bars_demo()

# %%
bars_still()
"""


def tried(tmp_path: Path, page: str = PAGE) -> dict[str, list[str]]:
    (tmp_path / "solutions").mkdir(exist_ok=True)
    (tmp_path / "solutions" / "demos.py").write_text(page, encoding="utf-8")
    moved, written = try_demo(tmp_path, "bars")
    assert all(path.is_file() for path in written)
    return {each.control: each.faults for each in moved}


def test_a_demo_is_moved_and_its_pictures_are_kept(tmp_path: Path):
    assert tried(tmp_path) == {"bits": []}
    assert sorted(path.name for path in (tmp_path / "build" / "demos").iterdir()) == ["bars.html", "bars.png"]


FAULTS = {
    'slider.observe(update, names="value")': ("", "bits", "the picture stays as it is"),
    'alt="{2**slider.value} codes"': ('alt="codes"', "bits", "text alternative stays as it is"),
    ', description="bits"': ("", "control 1", "has no label"),
    'alt="{2**slider.value} codes" ': ('alt="" ', "the whole", "a picture has no text alternative"),
    'figure.set_label("8 codes")': ("", "the whole", "the still picture has no text alternative"),
    "# %%\nbars_still()\n": ("", "the whole", "there is no still picture"),
    "[slider, picture]": (
        "[slider, picture, widgets.Checkbox()]",
        "the whole",
        "a Checkbox is no slider, menu, button",
    ),
    'src="data:,': ('onclick="go()" src="data:,', "the whole", "'onclick=' in its HTML answers to no key"),
}


@pytest.mark.parametrize("old", FAULTS)
def test_what_is_amiss_is_told(old: str, tmp_path: Path):
    new, control, told = FAULTS[old]
    assert old in PAGE
    assert any(told in fault for fault in tried(tmp_path, PAGE.replace(old, new))[control])


def test_a_slow_control_is_told(tmp_path: Path):
    slow = "        import time; end = time.process_time() + 0.25\n        while time.process_time() < end: pass\n"
    page = PAGE.replace("    def update(_=None):\n", f"    def update(_=None):\n{slow}")
    assert "are taken for at once" in tried(tmp_path, page)["bits"][0]


def test_a_demo_that_is_not_there_is_named(tmp_path: Path):
    tried(tmp_path)
    with pytest.raises(CourseError, match=r"shows no rods_demo\(...\); demos there: bars"):
        try_demo(tmp_path, "rods")
    done = CliRunner().invoke(main, ["--root", str(tmp_path), "demo", "bars"])
    assert done.exit_code == 0 and "✓ bits" in done.output and "bars.png" in done.output
