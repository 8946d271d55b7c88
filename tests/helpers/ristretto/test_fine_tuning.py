"""Fine-tuning with float shadow weights, against a training loop written out for one layer."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_utils.networks import accuracy
from course_utils.numerics import FixedPoint
from course_utils.ristretto import PARTS, LayerFormats, fine_tune, formats_of, measure, quantized
from course_utils.ristretto.layers import rounding_layers


def task(seed: int, count: int = 400) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A trained network, and images of four classes whose centres are drawn."""
    torch.manual_seed(seed)
    labels = torch.randint(4, (count,))
    images = torch.randn(4, 1, 6, 6)[labels] + 0.7 * torch.randn(count, 1, 6, 6)
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.eval(), images, labels


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_it_wins_back_what_rounding_lost(rounding):
    network, images, labels = task(0)
    formats = formats_of("dynamic_fixed_point", measure(network, images), dict.fromkeys(PARTS, 2))
    before = copy.deepcopy(network.state_dict())
    lost = accuracy(network, images, labels) - accuracy(quantized(network, formats), images, labels)
    assert lost > 0.1
    settings = {"steps": 150, "learning_rate": 0.02, "rounding": rounding, "progress": False}
    tuned = fine_tune(network, formats, images, labels, **settings)
    assert not tuned.training
    assert accuracy(tuned, images, labels) > accuracy(network, images, labels) - lost / 2
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    again = fine_tune(network, formats, images, labels, **settings)
    assert torch.equal(again(images), tuned(images))
    for name, layer in rounding_layers(tuned).items():
        shadow, form = layer.layer.weight.detach(), formats[name].weight
        assert not torch.equal(form.quantize(shadow), shadow)  # float, between the values
        assert torch.equal(layer._parameter(shadow, form), form.quantize(shadow))  # and rounded to nearest at the end


def test_steps_are_those_of_a_loop_written_out():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(5, 3)).eval()
    images, labels = torch.randn(20, 5), torch.randint(3, (20,))
    form = FixedPoint(1, 2)
    tuned = fine_tune(
        network,
        {"0": LayerFormats(weight=form)},
        images * 2,
        labels,
        steps=7,
        learning_rate=0.5,
        batch=20,
        prepare=lambda x: x / 2,
        progress=False,
    )
    weight, bias = network[0].weight.detach().clone(), network[0].bias.detach().clone()
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(7):
        rounded = form.quantize(weight)
        error = functional.softmax(images @ rounded.T + bias, 1) - functional.one_hot(labels, 3)
        gradients = error.T @ images / 20, error.mean(0)
        moved = [0.9 * m + g for m, g in zip(moved, gradients, strict=True)]
        rate = 0.5 * (1 - step / 7)
        weight, bias = weight - rate * moved[0], bias - rate * moved[1]
    # float32 sums in another order, over seven steps of the size of 1
    torch.testing.assert_close(tuned[0].layer.weight, weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(tuned[0].layer.bias, bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rounding": "up"}, "rounding is one of nearest, stochastic, not 'up'"),
        ({"steps": 0}, "0 steps of 5 of 8 images with 8 labels"),
        ({"batch": 9}, "3 steps of 9 of 8 images with 8 labels"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, "3 steps of 5 of 8 images with 7 labels"),
        ({"learning_rate": 3e38}, "take a smaller learning rate than 3e+38"),
        ({"formats": {"layer": LayerFormats()}}, "no convolution or fully connected layer is at 'layer'"),
    ],
)
def test_what_cannot_be_is_refused(change, told):
    torch.manual_seed(0)
    arguments = {
        "network": nn.Sequential(nn.Linear(3, 2)).eval(),
        "formats": {},
        "images": torch.randn(8, 3),
        "labels": torch.arange(8) % 2,
        "steps": 3,
        "batch": 5,
        "learning_rate": 0.1,
        "progress": False,
    }
    with pytest.raises(ValueError, match=re.escape(told)):
        fine_tune(**(arguments | change))
