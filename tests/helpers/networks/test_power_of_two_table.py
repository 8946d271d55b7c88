"""The stored figures of whole-number networks: they are read as they are written, and can be measured again."""

from __future__ import annotations

import importlib.util
import json

import pytest

from course_utils.data import shapes
from course_utils.networks import accuracy, load_trained, normalize
from course_utils.networks.models import WEIGHTS, trained_facts
from course_utils.networks.power_of_two_table import BITS, VARIANTS, TableError, cells, read_table, table_path
from course_utils.quantization.integer_network import Calibrated

STORED = sorted(path.stem.removeprefix("power_of_two-") for path in WEIGHTS.glob("power_of_two-*.json"))
DOCUMENTS = [
    f"{way}{cut}" for way in ("float", "scale_shift", "power_of_two") for cut in ("", " outliers")
]  # the columns of tables 4.1 to 4.3


def test_the_table_of_the_data_that_are_always_here_is_complete():
    table = read_table("simplenet-shapes")
    assert set(table.figures) == set(cells())
    assert all(tuple(table.column(name)) == BITS for name in DOCUMENTS)


@pytest.mark.parametrize("network", STORED)
def test_tables_hold_shares_of_known_cells(network):
    table = read_table(network)
    assert table.facts["network"] == network
    assert {"data", "measure", "images", "calibration images", "float", "seed", "torch", "python", "script"} <= set(
        table.facts
    )
    assert set(table.figures) <= set(cells())
    assert (WEIGHTS.parents[1] / table.facts["script"]).is_file()
    assert all(0 <= figure <= 1 for figure in table.figures.values())
    for name in DOCUMENTS:
        assert {4, 8} <= table.column(name).keys()
    # 12 bits and more are as good as float, by whatever adjustment: a step is 2^-11 of a range
    for name in ("float", "scale_shift", "power_of_two"):
        for bits in table.column(name).keys() & {12, 16}:
            assert table.figure(name, bits) == pytest.approx(table.facts["float"], abs=0.02)


@pytest.mark.parametrize("network", [name for name in STORED if name.startswith("simplenet")])
def test_a_classifiers_table_is_of_the_weights_that_are_here(network):
    table = read_table(network)
    assert table.facts["images"] == 10_000
    assert table.facts["float"] == pytest.approx(float(trained_facts(network)["accuracy"]), abs=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [("power_of_two", 8), ("float", 4), ("scale_shift document", 3)])
def test_stored_figures_are_measured_again(cell):
    """Whole numbers are the same on every machine, the scales are not to the last digit: a code in a million moves."""
    spec = importlib.util.spec_from_file_location("measure", WEIGHTS.parent / "measure" / "measure_power_of_two.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    name, bits = cell
    images, labels = shapes(False)
    calibrated = Calibrated(load_trained("simplenet-shapes"), script.sample(shapes(True)[0]))
    found = accuracy(calibrated.quantized(VARIANTS[name].scheme(bits)), normalize(images), labels)
    assert found == pytest.approx(read_table("simplenet-shapes").figure(name, bits), abs=2e-3)


def test_every_variant_is_another_one():
    seen = [(tuple(sorted(v.options.items(), key=str)), v.calibration, v.printed_fold) for v in VARIANTS.values()]
    assert len(set(map(str, seen))) == len(seen)
    assert all(variant.scheme(bits).num_bits == bits for variant in VARIANTS.values() for bits in variant.bits)
    assert len(set(cells())) == len(cells()) == sum(len(v.bits) for v in VARIANTS.values())


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(TableError, match=r"power_of_two-none\.json: no such table"):
        read_table("none", tmp_path)
    path = table_path("some", tmp_path)
    for content in ("{", "[]", '{"facts": {}}', '{"facts": {}, "figures": {"float": {"8": "many"}}}'):
        path.write_text(content)
        with pytest.raises(TableError, match=r"power_of_two-some\.json: damaged"):
            read_table("some", tmp_path)
    path.write_text(json.dumps({"facts": {"network": "some"}, "figures": {"float": {"8": 0.5, "2": 0.1}}}))
    table = read_table("some", tmp_path)
    assert table.column("float") == {2: 0.1, 8: 0.5}
    assert list(table.column("float")) == [2, 8]
    with pytest.raises(TableError, match="some has no 'float' at 4 bits"):
        table.figure("float", 4)
