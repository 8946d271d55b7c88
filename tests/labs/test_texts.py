"""A lab is read in an evening: its running text, without what is folded away and without tables, has a limit."""

from __future__ import annotations

import re

import pytest

from autograder.labs.build import release
from autograder.labs.lab import Lab, lab_names

MOST_WORDS = 3000


def running_text(lab: Lab) -> str:
    """The text cells of a lab's release, formulas and questions too."""
    text = "\n\n".join(cell.source for cell in release(lab).cells if cell.cell_type == "markdown")
    shown = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    return "\n".join(line for line in shown.splitlines() if not line.startswith("|"))


@pytest.mark.parametrize("name", lab_names())
def test_a_lab_is_no_longer_than_one_reads(name: str):
    words = len(running_text(Lab(name)).split())
    assert words <= MOST_WORDS, f"{name} has {words} words of running text"
