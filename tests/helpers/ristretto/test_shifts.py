"""Multiplying by shifts: whole numbers against int64 products and against float64."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from course_utils.numerics import FixedPoint
from course_utils.ristretto import (
    PARTS,
    LayerFormats,
    PowersOfTwo,
    biases_in_sums,
    formats_of,
    measure,
    quantized,
    shift_network,
)
from course_utils.ristretto.shifts import ShiftLayer, rounding_shift

CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2)},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2, "bias": False},
    "grouped": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise": {"kernel_size": 3, "groups": 4},
}


def drawn_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    first = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Conv2d(4, 6, 3, bias=False), nn.Flatten(), nn.Linear(24, 5)).eval()


@pytest.mark.parametrize("places", [-3, 0, 1, 2, 5])
def test_a_rounding_shift_is_a_division_rounded_to_even(places):
    sums = torch.arange(-300, 301)
    assert torch.equal(rounding_shift(sums, places).double(), torch.round(sums.double() / 2.0**places))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("weights", "outputs"), [(4, 8), (3, 6), (2, 4)])
def test_a_network_of_shifts_equals_float64_bit_for_bit(seed, weights, outputs):
    network = drawn_network(seed)
    images = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    lengths = dict(zip(PARTS, (weights, weights, outputs), strict=True))
    formats = formats_of("power_of_two", measure(network, images), lengths)
    before = copy.deepcopy(network.state_dict())
    shifts = shift_network(network, formats)
    images = images.double() * 1.5  # some are clipped
    with torch.no_grad():
        expected = quantized(copy.deepcopy(network).double(), biases_in_sums(formats))(images)
        assert torch.equal(shifts(images), expected)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_sums_are_those_of_int64_products(kind):
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 8, **CONVOLUTIONS[kind])
    weight, given = PowersOfTwo(-5, -1), FixedPoint(3, 4)
    formats = biases_in_sums({"": LayerFormats(weight, given)})[""]  # without an output format, sums come out
    own = ShiftLayer(layer, formats)
    codes = torch.randint(-64, 64, (3, 4, 9, 8))
    whole = (weight.quantize(layer.weight.double()) * 2**5).long()  # the weights in units of 2^-5
    assert torch.equal(own.signs * 2**own.shifts, whole)
    # float64 carries sums of such products; int64 is what they are
    pads, layer.padding = layer.padding, (0, 0)
    padded = nn.functional.pad(codes, (pads[1], pads[1], pads[0], pads[0]))
    bias = None if layer.bias is None else torch.round(layer.bias.detach().double() * 2**9)
    expected = layer._conv_forward(padded.double(), whole.double(), bias)
    assert expected.abs().max() < 2**53
    assert torch.equal((own(given.decode(codes)) * 2**9).long(), expected.long())


def test_what_cannot_be_shifted_is_named():
    network = drawn_network(0)
    formats = formats_of("power_of_two", measure(network, torch.rand(2, 1, 8, 8)), dict.fromkeys(PARTS, 4))
    for change, told in (
        ({"weight": FixedPoint(1, 3)}, "3: shifts take weights of PowersOfTwo and inputs of FixedPoint"),
        ({"input": None}, "3: shifts take weights of PowersOfTwo and inputs of FixedPoint"),
        ({"weight": PowersOfTwo(-60, 0)}, "3: its sums need more than 53 bits: take fewer exponents than 2^-60..2^0"),
        ({"bias": FixedPoint(4, 4)}, "3: the bias should have the unit of the sums, 2^"),
    ):
        own = LayerFormats(**(vars(formats["3"]) | change))
        with pytest.raises(ValueError, match=re.escape(told)):
            shift_network(network, formats | {"3": own})
    with pytest.raises(ValueError, match="is at '1'"):
        shift_network(network, {"1": formats["0"]})
    network[0].padding_mode = "reflect"
    with pytest.raises(ValueError, match="0: a convolution by shifts pads with zeros"):
        shift_network(network, formats)
