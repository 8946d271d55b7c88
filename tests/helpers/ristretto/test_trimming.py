"""The search of Ristretto on small networks drawn anew: every trial computed again, another way."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_utils.networks import accuracy
from course_utils.numerics import DynamicFixedPoint, FixedPoint
from course_utils.ristretto import (
    PARTS,
    LayerFormats,
    PowersOfTwo,
    formats_of,
    measure,
    minifloat,
    quantized,
    trim,
)


def drawn_network(seed: int, kind: str = "both") -> nn.Module:
    torch.manual_seed(seed)
    convolution = [nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    linear = {"both": [nn.Flatten(), nn.Linear(96, 10)], "convolutions": [nn.Conv2d(6, 10, 4), nn.Flatten()]}
    if kind == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(128, 30, bias=False), nn.ReLU(), nn.Linear(30, 10)).eval()
    return nn.Sequential(*convolution, *linear[kind]).eval()


def drawn_images(seed: int, network: nn.Module, count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and as labels what the network says: in float it is right always."""
    images = torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return images, network(images).argmax(1)


class Recorded(nn.Module):
    """A layer that rounds like the formats' own definitions, and nothing else of the kit's."""

    def __init__(self, layer: nn.Module, weight, input, output) -> None:
        super().__init__()
        self.layer, self.rules = copy.deepcopy(layer), (weight, input, output)
        if weight is not None:
            self.layer.weight.data = weight(self.layer.weight.data)

    def forward(self, x):
        _, input, output = self.rules
        y = self.layer(x if input is None else input(x))
        return y if output is None else output(y)


def by_definition(network, calibration, conv=None, fc=None, outputs=None):
    """Word lengths of dynamic fixed point, None is float."""
    network, values = copy.deepcopy(network), {}
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda m, i, o, name=name: values.update({name: (i[0], o)}))
    with torch.no_grad():
        network(calibration)
    for name, layer in layers.items():
        layer._forward_hooks.clear()
        bits = conv if isinstance(layer, nn.Conv2d) else fc
        weight = None if bits is None else DynamicFixedPoint(bits).quantize
        ends = [None, None]
        if outputs is not None:
            ends = [DynamicFixedPoint(outputs).format_for(value).quantize for value in values[name]]
        network.set_submodule(name, Recorded(layer, weight, *ends))
    return network


@pytest.mark.parametrize("seed", range(3))
def test_every_trial_is_what_the_definitions_give(seed):
    network = drawn_network(seed)
    images, labels = drawn_images(seed, network)
    before = copy.deepcopy(network.state_dict())
    found = trim(network, images, labels, allowed_drop=0.05, calibration=images[:64], progress=False)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert found.float_accuracy == 1

    for part, words in zip(PARTS, ("conv", "fc", "outputs"), strict=True):
        own = [trial for trial in found.trials if trial.part == part]
        for trial in own:
            network_of_trial = by_definition(network, images[:64], **{words: trial.bits})
            assert trial.accuracy == accuracy(network_of_trial, images, labels)
            assert trial.within == (trial.accuracy >= 0.95)
        assert [trial.bits for trial in own] == [16, 8, 4, 2][: len(own)]
        assert all(trial.within for trial in own[:-1])  # it ends with the first that loses too much
        assert len(own) == 4 or not own[-1].within
        chosen = [trial.bits for trial in own if trial.chosen]
        assert chosen == [min(trial.bits for trial in own if trial.within)] == [found.word_lengths[part]]

    together = found.trials[-1]
    lengths = dict(zip(("conv", "fc", "outputs"), found.word_lengths.values(), strict=True))
    expected = by_definition(network, images[:64], **lengths)
    with torch.no_grad():
        assert torch.equal(found.network(images), expected(images))
    assert (together.part, together.chosen) == ("together", True)
    assert together.accuracy == found.accuracy == accuracy(expected, images, labels)
    assert found.within == together.within == (found.accuracy >= 0.95)


def test_a_part_stays_float_where_the_longest_word_loses_too_much():
    network = drawn_network(0)
    images, labels = drawn_images(0, network)
    found = trim(network, images, labels, allowed_drop=0, word_lengths=(2,), progress=False)
    assert set(found.word_lengths.values()) == {None}
    assert found.formats == {}
    assert (found.accuracy, found.within) == (1, True)
    assert not any(trial.chosen for trial in found.trials[:-1])


@pytest.mark.parametrize(("kind", "missing"), [("convolutions", PARTS[1]), ("linear", PARTS[0])])
def test_parts_that_a_network_lacks_are_left_out(kind, missing):
    network = drawn_network(1, kind)
    found = trim(network, *drawn_images(1, network), progress=False)
    assert found.word_lengths.keys() == set(PARTS) - {missing}
    assert {trial.part for trial in found.trials} == {*found.word_lengths, "together"}


def test_minifloats_that_do_not_exist_are_told_and_a_search_tries_all_splits():
    network = drawn_network(2)
    images, labels = drawn_images(2, network)
    by_rule = trim(network, images, labels, "minifloat", allowed_drop=0.3, progress=False)
    assert {(t.bits, t.format) for t in by_rule.trials[:-1]} >= {(16, "e4m11"), (8, "e4m3"), (4, "e4")}
    for trial in by_rule.trials[:-1]:
        assert (trial.accuracy is None) == (trial.bits < 6) == bool(trial.note)
    searched = trim(
        network,
        images,
        labels,
        "minifloat",
        allowed_drop=0.3,
        exponent_bits="search",
        word_lengths=(8,),
        progress=False,
    )
    own = [t for t in searched.trials if t.part == PARTS[2]]
    assert [t.format for t in own] == [f"e{e}m{7 - e}" for e in range(1, 7)]
    assert [t for t in own if t.chosen] == [max(own, key=lambda t: t.accuracy)]
    chosen = searched.formats["0"].output
    assert chosen == minifloat(8, chosen.exponent_bits)
    fixed = formats_of(
        "minifloat", measure(network, images), dict.fromkeys(PARTS, 8), exponent_bits=3, subnormals=False
    )
    assert fixed["4"] == LayerFormats(*[minifloat(8, 3, False)] * 3)


def test_powers_of_two_are_of_weights():
    network = drawn_network(3)
    found = trim(network, *drawn_images(3, network), "power_of_two", allowed_drop=0.5, progress=False)
    for name, own in found.formats.items():
        layer = found.network.get_submodule(name).layer
        assert isinstance(own.weight, PowersOfTwo)
        assert isinstance(own.input, FixedPoint)
        assert isinstance(own.output, FixedPoint)
        rounded = own.weight.quantize(layer.weight)
        assert (torch.frexp(rounded[rounded != 0].abs())[0] == 0.5).all()


def test_fixed_point_is_one_format_for_everything():
    network = drawn_network(4)
    images, labels = drawn_images(4, network)
    found = trim(network, images, labels, "fixed_point", allowed_drop=0.3, word_lengths=(8, 4), progress=False)
    assert [t.format for t in found.trials][:8] == [f"Q{m}.{8 - m}" for m in range(1, 9)]
    (chosen,) = {form for own in found.formats.values() for form in (own.weight, own.input, own.output)}
    of_its_length = [t for t in found.trials if t.bits == chosen.bits]
    best = max(of_its_length, key=lambda t: t.accuracy)
    assert best.format == f"Q{chosen.integer_bits}.{chosen.fraction_bits}"
    assert best.chosen
    assert found.accuracy == best.accuracy
    assert found.word_lengths == {"together": chosen.bits}


def test_formats_without_a_search_are_those_of_the_search():
    network = drawn_network(5)
    images, labels = drawn_images(5, network)
    ranges = measure(network, images)
    for system in ("dynamic_fixed_point", "minifloat", "power_of_two"):
        found = trim(
            network, images, labels, system, allowed_drop=1, word_lengths=(8,), calibration=images, progress=False
        )
        assert formats_of(system, ranges, dict.fromkeys(PARTS, 8)) == found.formats
    spared = formats_of("dynamic_fixed_point", ranges, {"layer outputs": 8}, spared=1)
    assert (
        spared["0"].output.largest == formats_of("dynamic_fixed_point", ranges, {PARTS[2]: 8})["0"].output.largest / 2
    )
    assert spared["0"].weight is None


def test_gradients_pass_through_the_rounding():
    network = drawn_network(6, "linear")
    formats = {"1": LayerFormats(FixedPoint(1, 2), FixedPoint(2, 2), FixedPoint(2, 2))}
    layer = quantized(network, formats).get_submodule("1")
    x = torch.tensor([[0.3, -1.9, 5.0, *([0.0] * 125)]], requires_grad=True)
    y = layer(x)
    weight = layer.layer.weight
    rounded = FixedPoint(1, 2).quantize(weight)
    inputs = FixedPoint(2, 2).quantize(x)
    assert torch.equal(y, FixedPoint(2, 2).quantize(functional.linear(inputs, rounded)))
    y.sum().backward()
    inside = (functional.linear(inputs, rounded).abs() <= 1.75).float()
    assert torch.equal(weight.grad, inside.T @ inputs)
    assert torch.equal(x.grad, (inside @ rounded) * (x.abs() <= 1.75))


def test_a_layer_at_two_paths_is_replaced_at_both():
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    network = nn.Sequential(layer, nn.ReLU(), layer).eval()
    x, form = torch.randn(6, 4), FixedPoint(1, 3)
    assert list(measure(network, x)) == ["0"]
    rounded = form.quantize(layer.weight)
    expected = functional.linear(functional.linear(x, rounded, layer.bias).relu(), rounded, layer.bias)
    with torch.no_grad():
        assert torch.equal(quantized(network, {"0": LayerFormats(form)})(x), expected)


def test_the_table_reads_as_it_was_tried():
    network = drawn_network(2)
    found = trim(network, *drawn_images(2, network), "minifloat", allowed_drop=0.3, word_lengths=(8, 4), progress=False)
    told = str(found)
    lines = told.splitlines()
    assert re.fullmatch(r"part +bits +format +accuracy", lines[0])
    assert re.fullmatch(r"float +32 +100\.00 %", lines[1])
    assert re.fullmatch(r"convolution weights +8 +e4m3 +\d+\.\d\d % +chosen", lines[2])
    assert re.fullmatch(
        r"convolution weights +4 +e4 +- +4 bits with 4 for the exponent leave none for the mantissa", lines[3]
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"system": "posit"},
            "system is one of dynamic_fixed_point, minifloat, power_of_two, fixed_point, not 'posit'",
        ),
        ({"allowed_drop": 1.5}, "allowed_drop is a fraction, 0 to 1, not 1.5"),
        ({"word_lengths": ()}, "word_lengths fall from 16"),
        ({"word_lengths": (4, 8)}, "word_lengths fall from 16"),
        ({"word_lengths": (8, 1)}, "word_lengths fall from 16"),
        ({"exponent_bits": 8}, "exponent_bits is 'rule', 'search' or 1 to 7, not 8"),
        ({"system": "minifloat", "spared": 1}, "only words of dynamic fixed point can be spared bits"),
        ({"calibration": torch.empty(0, 2, 8, 8)}, "calibration needs at least one image"),
        ({"calibration": torch.full((1, 2, 8, 8), torch.nan)}, "0: its input is not finite"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "accuracy needs one label an image"),
    ],
)
def test_what_cannot_be_is_refused(change, told):
    network = drawn_network(0)
    images, labels = drawn_images(0, network, 8)
    arguments = {"network": network, "images": images, "labels": labels, "progress": False} | change
    with pytest.raises(ValueError, match=re.escape(told)):
        trim(**arguments)


def test_networks_that_cannot_be_trimmed_are_named():
    images, labels = torch.rand(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="training mode"):
        trim(nn.Linear(3, 2), images, labels)
    with pytest.raises(ValueError, match="Softmax has neither"):
        trim(nn.Softmax(1).eval(), images, labels)
    mine = type("Mine", (nn.Linear,), {"forward": lambda layer, x: x})
    with pytest.raises(ValueError, match="0: Mine has a forward of its own"):
        trim(nn.Sequential(mine(3, 2)).eval(), images, labels)
    network = nn.Sequential(nn.Linear(3, 2)).eval()
    with pytest.raises(ValueError, match="no convolution or fully connected layer is at '1'"):
        quantized(network, {"1": LayerFormats()})
    with pytest.raises(ValueError, match="searching exponent bits"):
        formats_of("minifloat", {}, {}, exponent_bits="search")
    with pytest.raises(ValueError, match=r"parts are .*, not 'pooling'"):
        formats_of("minifloat", {}, {"pooling": 8})
    with pytest.raises(ValueError, match="layer outputs: 4 bits with 4"):
        formats_of("minifloat", measure(network, images), {"layer outputs": 4})
