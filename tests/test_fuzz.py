"""A few rounds of the fuzzer; ``make fuzz`` does more."""

from __future__ import annotations

import fuzz
import pytest

EXAMPLES = {"notebook": 2, "folders": 2, "trees": 8, "archives": 8, "darknet": 15, "compressed": 15}


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_damaged_data_cost_nothing_but_a_refusal(name: str) -> None:
    fuzz.rounds(name, EXAMPLES.get(name, 40), derandomize=True, database=None)
