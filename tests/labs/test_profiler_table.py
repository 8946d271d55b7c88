"""Lab 08's table has, beside the thesis' figures, those that experiments/thesis.py found."""

from __future__ import annotations

import json

from autograder import ROOT
from autograder.labs.lab import Lab

STORED = ROOT / "experiments" / "mobilenetv2-shapes" / "results.json"
ROWS = {
    "reference": "reference,",
    "fully quantized": "TensorFlow Lite",
    **{letter: f"{letter.upper()}:" for letter in "abcdefg"},
    "first_half": "first half",
    "second_half": "second half",
}


def test_our_columns_are_those_of_the_stored_results():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    text = "\n".join(cell.source for cell in Lab("08_profiler").cells)
    table = [
        [c.strip() for c in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    assert f"on {stored['images']:,}\ngenerated images" in text
    for name, begins in ROWS.items():
        (row,) = [cells for cells in table if cells[0].startswith(begins) and len(cells) == 8]
        found = stored["networks"][name]
        wanted = ["", f"{100 * found['top1']:.2f}", ""]
        if name != "reference":
            change = f"{100 * found['change']:+.2f} ± {100 * found['standard_error']:.2f}"
            wanted = [f"{found['sqnr_db']:.2f}", wanted[1], change]
        assert row[5:] == wanted, name


def test_what_the_text_says_of_chance():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    chances = [order["probability_if_equal"] for name, order in stored["orders"].items() if name != "a < reference"]
    assert f"{min(chances):.2f}" == "0.06" and len(chances) == 4
