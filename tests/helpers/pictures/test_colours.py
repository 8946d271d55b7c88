"""Pictures use one palette, and with every common kind of colour blindness its colours stay apart."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import is_color_like, to_hex, to_rgb

from course_utils.pictures.plots import COLOURS

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*ROOT.glob("course_utils/**/*.py"), *ROOT.glob("solutions/*.py"), *ROOT.glob("solutions/*/*.py")])
PALETTE = {colour.lower() for colour in COLOURS.values()}
# one hue from light to dark, or (cividis) made to look the same with and without colour blindness
MAPS = {"cividis", "Blues", "gray"}

# What a person sees who lacks one kind of cone, in linear RGB: Machado, Oliveira, Fernandes, "A Physiologically-based
# Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, table for severity 1.0.
SEEN = {
    "full colour vision": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# sRGB to XYZ with its white point D65 (IEC 61966-2-1)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# A just noticeable difference in CIELAB is about 2.3 (Mahy and others, 1994), side by side and large. Lines and their
# entry in a legend are neither, so we ask for four of them.
APART = 4 * 2.3


def lab(linear: np.ndarray) -> np.ndarray:
    """Linear RGB as CIELAB (CIE 1976)."""
    t = (XYZ @ np.clip(linear, 0, 1)) / XYZ.sum(axis=1)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def distance(one: str, other: str, vision: str) -> float:
    return float(np.linalg.norm(lab(SEEN[vision] @ linear(one)) - lab(SEEN[vision] @ linear(other))))


@pytest.mark.parametrize("vision", SEEN)
def test_colours_stay_apart(vision):
    close = {
        (one, other): round(distance(COLOURS[one], COLOURS[other], vision), 1)
        for one, other in itertools.combinations(COLOURS, 2)
        if distance(COLOURS[one], COLOURS[other], vision) < APART
    }
    assert not close


def test_the_measure_finds_what_is_known_to_be_confused():
    """Matplotlib's own red and green, lightness made alike."""
    assert distance("#d62728", "#8a6d00", "deuteranopia") < APART < distance("#d62728", "#8a6d00", "full colour vision")


def colours_in(source: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every constant that is a colour: a keyword argument's, or written as #rrggbb anywhere."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and re.search("colou?r", node.arg or "") and "_color" not in (node.arg or ""):
            looked_up = [part.slice for part in ast.walk(node.value) if isinstance(part, ast.Subscript)]
            names = {id(part) for key in looked_up for part in ast.walk(key)}  # COLOURS["green"] is not "green"
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and is_color_like(part.value) and id(part) not in names:
                    yield part.lineno, str(part.value)
        elif isinstance(node, ast.Constant) and re.fullmatch("#[0-9a-fA-F]{6}", str(node.value)):
            yield node.lineno, node.value


def test_a_named_colour_is_found(tmp_path):
    source = tmp_path / "a.py"
    source.write_text(
        'plot(color="green")\nplot(color=COLOURS["green" if now else "blue"], edgecolors=["C1"])\nx = "#12345A"'
    )
    assert sorted(colours_in(source)) == [(1, "green"), (2, "C1"), (3, "#12345A")]


def is_grey(colour: str) -> bool:
    return colour == "none" or len(set(to_rgb(colour))) == 1


def test_every_colour_is_of_the_palette_or_grey():
    used = [(f"{path.name}:{line}", colour) for path in SOURCES for line, colour in colours_in(path)]
    assert len(used) > 20, "this test looks at the wrong files"
    assert not [(place, c) for place, c in used if not is_grey(c) and to_hex(c).lower() not in PALETTE]


def test_every_colour_map_is_safe():
    maps = [
        node.value.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "cmap" and isinstance(node.value, ast.Constant)
    ]
    assert maps and set(maps) <= MAPS
