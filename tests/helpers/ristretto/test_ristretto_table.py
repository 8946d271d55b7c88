"""The stored figures of Ristretto's number systems: read as they are written, and measured again."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys

import pytest
import torch
from torch import nn

from course_utils.networks import accuracy
from course_utils.networks.models import WEIGHTS, trained_facts
from course_utils.numerics import DynamicFixedPoint, FixedPoint
from course_utils.ristretto import fixed_point_for, least_error_format, measure, quantized
from course_utils.ristretto.table import (
    SETTINGS,
    PublishedMinifloat,
    Setting,
    TableError,
    published_fixed_point,
    read_table,
    table_path,
)

STORED = sorted(path.stem.removeprefix("ristretto-") for path in WEIGHTS.glob("ristretto-*.json"))
FLOAT = {"lenet5_caffe": 0.9914, "cifar10_full_65000": 0.8178}


@pytest.mark.parametrize("network", STORED)
def test_a_table_holds_known_rows_of_the_network_that_is_here(network):
    table = read_table(network)
    assert {
        "network",
        "data",
        "images",
        "calibration images",
        "steps",
        "batch",
        "learning rate",
        "seed",
        "weights",
    } <= (table.facts.keys())
    assert {"torch", "python", "script", "float"} <= table.facts.keys()
    assert (table.facts["network"], table.facts["images"]) == (network, 10_000)
    expected = FLOAT[network] if network in FLOAT else float(trained_facts(network)["accuracy"])
    assert table.facts["float"] == pytest.approx(expected, abs=2e-4)
    for name, line in table.lines.items():
        assert name == line.setting.name
        assert set(line.tuned) <= set(line.setting.tuned)
        assert all(0 <= figure <= 1 for figure in (line.accuracy, *line.tuned.values()))
    for name, setting in SETTINGS[network].items():
        assert setting.lecture is None or name in table.lines  # the lecture's rows are there


@pytest.mark.parametrize(("exponent_bits", "mantissa_bits"), [(2, 3), (3, 2), (4, 1)])
def test_published_minifloats_are_the_nearest_of_all_their_values(exponent_bits, mantissa_bits):
    bias = 2 ** (exponent_bits - 1) - 1
    positive = [
        (1 + m / 2**mantissa_bits) * 2.0 ** (e - bias) for e in range(2**exponent_bits) for m in range(2**mantissa_bits)
    ]
    form = PublishedMinifloat(exponent_bits, mantissa_bits)
    assert (form.smallest, form.largest) == (min(positive), max(positive))
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4000, generator=g) * 2 ** (torch.rand(4000, generator=g) * 16 - 8)
    rounded, values = form.quantize(x), torch.tensor([*positive, *(-p for p in positive)])
    inside = x.abs() >= form.smallest
    assert inside.any()
    assert not inside.all()
    assert (rounded[~inside] == 0).all()
    assert torch.equal((rounded - x)[inside].abs(), (values - x[inside, None]).abs().amin(1))


# by hand: 0.6 = 2^-0.74, 0.24 = 2^-2.06; 0.25 is a power of two
@pytest.mark.parametrize(("largest", "integer_bits"), [(0.6, 1), (0.24, -1), (0.25, -1), (0.26, 0), (3.0, 3)])
def test_the_published_rule_counts_integer_bits(largest, integer_bits):
    for bits in (2, 4, 8):
        form = published_fixed_point(largest, bits)
        assert form == FixedPoint(integer_bits, bits - integer_bits)
        kept = DynamicFixedPoint(bits).format_for(torch.tensor([largest]))
        assert kept.integer_bits - form.integer_bits in (0, 1)  # the same, or a bit saved and the largest value clipped
        assert (kept == form) == (round(math.ldexp(largest, form.fraction_bits)) <= form.code_range[1])


def test_settings_choose_weights_as_they_say():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 4)).eval()
    ranges = measure(network, torch.rand(5, 1, 4, 4))

    def weights(**options):
        formats = Setting("dynamic_fixed_point", (3, 2, 4), **options).formats(network, ranges)
        assert {own.output.bits for own in formats.values()} == {own.input.bits for own in formats.values()} == {4}
        return [own.weight for own in formats.values()]

    largest = [own.weight for own in ranges.values()]
    assert weights() == [fixed_point_for(largest[0], 3), fixed_point_for(largest[1], 2)]
    assert weights(weights="published") == [published_fixed_point(largest[0], 3), published_fixed_point(largest[1], 2)]
    assert weights(weights="error") == [
        least_error_format(network[0].weight, 3),
        least_error_format(network[2].weight, 2),
    ]
    assert weights(weights=(1, 2)) == [
        fixed_point_for(largest[0], 3, spared=1),
        fixed_point_for(largest[1], 2, spared=2),
    ]


def test_names_tell_rows_apart():
    for settings in SETTINGS.values():
        assert [setting.name for setting in settings.values()] == list(settings)
        assert sum(setting.lecture is not None for setting in settings.values()) in (0, 3, 4)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such table; there are: none"),
        ("{", "Make it anew with data/measure/measure_ristretto.py"),
        ('{"facts": {}, "rows": {"posit": {"accuracy": 1, "tuned": {}}}}', "no setting is called 'posit'"),
        ('{"facts": {}, "rows": {"minifloat e4m3": {}}}', "KeyError('accuracy')"),
    ],
)
def test_damaged_tables_are_named(tmp_path, content, told):
    path = table_path("lenet5_caffe", tmp_path)
    if content is not None:
        path.write_text(content)
    with pytest.raises(TableError, match=re.escape(told)) as caught:
        read_table("lenet5_caffe", tmp_path)
    assert str(path) in str(caught.value)


@pytest.fixture
def script(monkeypatch):
    """data/measure/measure_ristretto.py as a module."""
    spec = importlib.util.spec_from_file_location("measure", WEIGHTS.parent / "measure" / "measure_ristretto.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "measure", module)  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["dynamic_fixed_point 4/4/4 spared 1", "minifloat e4m3"])
def test_stored_figures_are_measured_again(course_data, script, name):
    """Sums of float32 differ in their last digits from one processor to another: five of 10,000 images may."""
    own, table = script.subject("lenet5_caffe"), read_table("lenet5_caffe")
    assert script.digest(own.model) == table.facts["weights"]
    ranges = measure(own.model, own.prepare(own.training[0][: script.CALIBRATION]))
    network = quantized(own.model, table.lines[name].setting.formats(own.model, ranges))
    measured = accuracy(network, own.prepare(own.test[0]), own.test[1], script.BATCH)
    assert measured == pytest.approx(table.lines[name].accuracy, abs=5e-4)


def test_the_script_goes_on_where_it_was_ended(script, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    images, labels = torch.randint(256, (120, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (120,))
    network = nn.Sequential(nn.Conv2d(3, 2, 5, 4), nn.Flatten(), nn.Linear(98, 10)).eval()
    own = script.Subject(network, lambda x: x.float() / 255, (images, labels), (images, labels))
    monkeypatch.setattr(script, "subject", lambda name: own)
    few = {name: s for name, s in SETTINGS["classyclassifier-shapes"].items() if len(s.tuned) == 2}
    few = dict(list(few.items())[:2])
    monkeypatch.setitem(SETTINGS, "classyclassifier-shapes", few)
    monkeypatch.setitem(script.TRAINING, "classyclassifier-shapes", (2, 0.01))
    command = ["measure_ristretto.py", "classyclassifier-shapes", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*command, "--without-tuning"])
    script.main()
    before = read_table("classyclassifier-shapes", tmp_path)
    assert list(before.lines) == list(few)
    assert not any(line.tuned for line in before.lines.values())
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", command)
    script.main()
    assert capsys.readouterr().out.count("\n") == 4  # two settings, two roundings; nothing is measured again
    after = read_table("classyclassifier-shapes", tmp_path)
    assert all(set(line.tuned) == {"nearest", "stochastic"} for line in after.lines.values())
    stored = json.loads(table_path("classyclassifier-shapes", tmp_path).read_text())
    assert stored["facts"] == before.facts == after.facts
    with torch.no_grad():
        network[0].weight += 1
    with pytest.raises(SystemExit):
        script.main()
    assert "is of another measurement" in capsys.readouterr().err
