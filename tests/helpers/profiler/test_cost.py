"""Costs against numbers counted by hand, and torch's own counter of operations."""

from __future__ import annotations

import pytest
import torch
import torchvision
from test_recreation import Block, filled, images
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_utils.numerics import FloatFormat
from course_utils.profiler import KINDS, Choice, Cost, Options, costs, layers_of, recreate


def test_costs_counted_by_hand():
    choices = [Choice("conv"), Choice("linear", options=Options(weight_bits=4, symmetric_weights=False)), Choice("add")]
    found = costs(recreate(filled(Block()), choices, [images(4)]), images(2))
    assert found == {
        # 8 x 3 x 3 x 3 weights of a byte and 8 biases from the batch norm; 8 grids; 8 x 8 x 8 activations
        "stem_0": Cost(216 + 32, 8 * 5 + 1, 512, 512 * 27),
        "deep": Cost((72 + 8) * 4, 0, 512 * 4, 512 * 9),  # not replaced: float32, its batch norm apart
        "add": Cost(0, 1, 512, 512),
        "pool": Cost(0, 0, 8 * 4, 512),
        "head": Cost(32 / 2 + 4 * 4, 5 + 0.5 + 1, 4, 32),
    }


@pytest.mark.parametrize("make", [lambda: torchvision.models.resnet18(), lambda: torchvision.models.mobilenet_v2()])
def test_products_are_those_that_torch_counts(make):
    model, x = make().eval(), torch.randn(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    made = recreate(model, [], [x])
    weighted = [name for kind in KINDS[:3] for name in layers_of(model)[kind]]
    assert 2 * sum(costs(made, x)[name].operations for name in weighted) == counter.get_total_flops()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.conv(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("calls", "weights"),
    [([], (48, 0)), ([0], (9 + 12, 48)), ([1], (48, 9 + 12)), ([0, 1], (9 + 12, 9 + 12))],
)
def test_a_layer_that_is_called_twice_is_stored_once_unless_its_calls_are_replaced(calls, weights):
    found = costs(recreate(Twice().eval(), [Choice("conv", calls)], [images(4)]), images(1))
    assert (found["conv"].weights, found["conv_1"].weights) == weights  # nine weights and three biases
    assert found["conv"].operations == found["conv_1"].operations > 0


def test_bits_of_formats_count():
    model = filled(Block())
    eight = Options(float_format=FloatFormat(4, 3))
    by_format = costs(recreate(model, [Choice("linear", options=eight)], [images(4)]), images(1))
    by_bits = costs(recreate(model, [Choice("linear")], [images(4)]), images(1))
    assert by_format["head"].weights == by_bits["head"].weights
    assert by_format["head"].scales == 0
    kept = costs(recreate(model, [Choice("linear", options=Options(quantized=False))], [images(4)]), images(1))
    assert kept["head"] == Cost((32 + 4) * 4, 0, 16, 32)
