"""The stored tables: figures worked out from single runs, what is refused, and that the script's plan is the whole."""

from __future__ import annotations

import importlib.util
import json
import statistics
from pathlib import Path

import pytest

from course_utils.low_bit import METHODS
from course_utils.low_bit.table import TableError, read_table
from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import write_stored

SCRIPT = Path(__file__).parents[3] / "data" / "train" / "train_low_bit.py"
SPEC = importlib.util.spec_from_file_location("train_low_bit", SCRIPT)
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def run(method, ends, seed, accuracy):
    return {"method": method, "ends": ends, "seed": seed, "accuracy": accuracy}


def test_lines_are_worked_out_from_runs(tmp_path):
    runs = [run("BWN", False, 0, 0.5), run("float", False, 0, 0.6), run("float", False, 1, 0.62)]
    runs += [run("BWN", True, 0, 0.4), run("BWN", False, 1, 0.54), run("float", False, 2, 0.9)]
    write_stored(tmp_path / "low_bit-x.json", {"dataset": "x"}, runs=runs)
    table = read_table("x", tmp_path)
    assert table.facts == {"dataset": "x"}
    assert [(line.method, line.ends) for line in table.lines] == [("float", False), ("BWN", False), ("BWN", True)]
    line = table.line("BWN")
    assert line is table.line("BWN", ends=False)
    assert line.accuracies == (0.5, 0.54) and line.mean == pytest.approx(0.52)
    assert line.spread == pytest.approx(statistics.stdev([0.5, 0.54]))
    assert line.loss == pytest.approx(9.0)  # against the same seeds
    assert (line.weight_bits, line.activation_bits, line.alexnet_loss) == (1, 32, 0.8)
    assert table.line("BWN", ends=True).spread == 0
    with pytest.raises(KeyError, match="TWN"):
        table.line("TWN")


@pytest.mark.parametrize(
    "content", ["", "{", '{"runs": []}', '{"facts": {}, "runs": []}', '{"facts": {}, "runs": [{"method": "BWN"}]}']
)
def test_what_is_damaged_is_said(tmp_path, content):
    path = tmp_path / "low_bit-x.json"
    path.write_text(content)
    with pytest.raises(TableError, match="damaged"):
        read_table("x", tmp_path)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(TableError, match="there are: none"):
        read_table("x", tmp_path)


def test_the_plan_has_every_method_and_those_with_an_asterisk_twice():
    plan = script.plan()
    assert len(set(plan)) == len(plan)
    assert {seed for _, _, seed in plan} == {0, 1, 2}
    once = [(name, ends) for name, ends, seed in plan if seed == 0]
    assert {name for name, _ in once} == set(METHODS)
    for name, method in METHODS.items():
        ways = [ends for other, ends in once if other == name]
        expected = [False] if name == "float" else [False, True] if method.keeps_ends else [True]
        assert sorted(ways) == expected


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("low_bit-*.json")), ids=lambda path: path.stem)
def test_a_stored_table_is_of_the_script_as_it_is(path):
    stored = json.loads(path.read_text(encoding="utf-8"))
    facts = stored["facts"]
    assert facts["steps"] == script.STEPS[facts["dataset"]] and facts["batch"] == script.BATCH
    assert [(run["method"], run["ends"], run["seed"]) for run in stored["runs"]] == script.plan()
    assert all(run["learning_rate"] == METHODS[run["method"]].learning_rate for run in stored["runs"])
    table = read_table(facts["dataset"])
    assert table.lines[0].method == "float" and table.lines[0].loss == 0
    # every method learns something: a network that guesses among ten classes has 0.1, within 0.003 (one deviation)
    assert all(accuracy > 0.13 for line in table.lines for accuracy in line.accuracies)
