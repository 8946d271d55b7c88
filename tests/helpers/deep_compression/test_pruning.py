"""Pruned weights are the smallest, stay zero whatever trains, and a settled network is a plain one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_utils.deep_compression import magnitude_mask, prune, settle, share, weight_layers
from course_utils.low_bit import fit


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 4))


def images(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return pixels, torch.randint(4, (count,), generator=generator)


def trained(network: nn.Module) -> nn.Module:
    fit(network, *images(), 10, 0.01, torch.Generator().manual_seed(0), batch=20)
    return network


def test_the_smallest_go_and_of_equal_ones_the_earlier():
    weight = torch.tensor([[3.0, -1.0, 1.0], [0.5, -4.0, 1.0]])
    kept = magnitude_mask(weight, 0.5)
    assert kept.tolist() == [[True, False, False], [False, True, True]]
    assert magnitude_mask(weight, 0).all() and not magnitude_mask(weight, 1).any()


@pytest.mark.parametrize("share_", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share_):
    with pytest.raises(ValueError, match="share is 0 to 1"):
        magnitude_mask(torch.ones(3), share_)


def test_training_keeps_the_zeros_and_moves_the_rest():
    network = small()
    prune(network, {"0": 0.4, "4": 0.75})
    before = {name: layer.weight.detach().clone() for name, layer in weight_layers(network).items()}
    assert int((before["0"] == 0).sum()) == round(0.4 * 27) and int((before["4"] == 0).sum()) == 144
    trained(network)
    for name, layer in weight_layers(network).items():
        assert torch.equal(layer.weight == 0, before[name] == 0)
        assert not torch.equal(layer.weight, before[name])


def test_pruning_again_prunes_more_of_what_is_left():
    network = small()
    prune(network, 0.5)
    first = network[4].weight == 0
    prune(trained(network), 0.8)
    assert int((network[4].weight == 0).sum()) == round(0.8 * 192)
    assert (network[4].weight == 0)[first].all()


def test_layers_are_named_where_something_is_missing_or_too_late():
    for shares in ({"0": 0.5}, {"0": 0.5, "4": 0.5, "5": 0.5}):
        with pytest.raises(KeyError, match=r"settings are for 0.*; the layers are 0, 4"):
            prune(small(), shares)
    with pytest.raises(ValueError, match="neither a convolution nor a linear"):
        prune(nn.Sequential(nn.ReLU()), 0.5)
    network = small()
    share(network, 2)
    with pytest.raises(ValueError, match="layer 0 has a codebook"):
        prune(network, 0.5)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="0 and 1 have one weight"):
        weight_layers(tied)


@pytest.mark.parametrize("change", [lambda n: prune(n, 0.5), lambda n: share(n, 3)])
def test_a_settled_network_is_plain_and_computes_the_same(change):
    network, plain = small(), small()
    change(network)
    trained(network).eval()
    twin = copy.deepcopy(network)
    x = torch.rand(2, 1, 6, 6)
    expected = network(x)
    settle(network)
    assert torch.equal(network(x), expected)
    assert type(network[0]) is nn.Conv2d and type(network[4]) is nn.Linear
    assert [(k, v.shape) for k, v in network.state_dict().items()] == [
        (k, v.shape) for k, v in plain.state_dict().items()
    ]
    assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in network.parameters())
    assert torch.equal(twin(x), expected), "settling a network must leave its copies whole"
