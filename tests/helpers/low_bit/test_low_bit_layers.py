"""Layers and networks of few bits: against convolutions written out, and trained a few steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_utils.data import shapes
from course_utils.low_bit import METHODS, layers, low_bit, methods, small_network, train_method, training, weights
from course_utils.low_bit.layers import LowBitConv2d, LowBitLinear, low_bit_layers, replace_layers

QUANTIZED = [name for name in METHODS if name != "float"]


@pytest.fixture(scope="module")
def images():
    return shapes(True, 400)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return small_network()


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("ends", [None, False, True])
def test_each_method_replaces_the_layers_that_its_paper_does(network, name, ends):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    made = low_bit(network, name, ends=ends)
    all_of_them = not METHODS[name].keeps_ends if ends is None else ends
    replaced = [i for i, layer in enumerate(made) if isinstance(layer, LowBitConv2d | LowBitLinear)]
    assert replaced == ([0, 3, 6, 10, 13] if all_of_them else [3, 6, 10])
    has_rule = METHODS[name].input_rule is not None
    relus = [i for i, layer in enumerate(made) if isinstance(layer, nn.ReLU)]
    assert relus == ([] if has_rule and all_of_them else [12] if has_rule else [2, 5, 8, 12])
    if all_of_them:
        assert made[0].input_rule is None  # the image stays as it is
    for layer in low_bit_layers(made):
        bits = 4 if name == "LogNet" and isinstance(layer, nn.Linear) else METHODS[name].weight_bits
        if name != "INQ":  # whose weights are float until they are frozen
            values = layer.seen_weight().detach()
            per_filter = name.split(",")[0] in ("BWN", "TWN", "XNOR-Net", "HWGQ-Net")
            groups = values if per_filter else [values]  # a scale for each
            assert max(len(group.unique()) for group in groups) <= 2**bits
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
    assert type(network[3]) is nn.Conv2d


@pytest.mark.parametrize("name", QUANTIZED)
def test_each_method_trains(images, name):
    network = train_method(name, *images, steps=8, seed=1)
    assert not network.training
    with torch.no_grad():
        logits = network(images[0][:50].float() / 127.5 - 1)
    assert bool(logits.isfinite().all())
    torch.manual_seed(1)
    first = low_bit(small_network(), name)
    for trained, layer in zip(low_bit_layers(network), low_bit_layers(first), strict=True):
        assert not torch.equal(trained.weight, layer.weight)
    if name == "INQ":
        for layer in low_bit_layers(network):
            assert bool(layer.weight_rule.frozen.all())
            assert set(layer.seen_weight().abs().unique().tolist()) <= set(layer.weight_rule.levels.tolist())
    if METHODS[name].weight_rule and isinstance(low_bit_layers(network)[0].weight_rule, layers.BinaryConnectWeight):
        assert max(float(layer.weight.detach().abs().max()) for layer in low_bit_layers(network)) <= 1


def test_a_seed_says_it_all(images):
    runs = [train_method("BinaryConnect, stochastic", *images, steps=4, seed=seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert not torch.equal(runs[0]["3.weight"], runs[2]["3.weight"])


def test_xnor_layer_is_signs_times_scales(network):
    layer = low_bit(network, "XNOR-Net")[3]
    x = torch.randn(2, 32, 8, 8)
    padded = functional.pad(x, (1, 1, 1, 1))
    y = layer(x).detach()
    alpha = layer.weight.detach().abs().mean((1, 2, 3))
    for b, o, i, j in [(0, 0, 0, 0), (1, 63, 3, 3), (0, 5, 2, 1)]:
        window = padded[b, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        pattern = torch.where(window >= 0, 1.0, -1.0)  # the padding is +1
        product = (pattern * torch.where(layer.weight[o] >= 0, 1.0, -1.0)).sum().detach()
        assert float(y[b, o, i, j]) == pytest.approx(float(product * alpha[o] * window.abs().mean()), rel=1e-4)
    packed = low_bit(network, "XNOR-Net")[10]
    x = torch.randn(3, 256)
    scale = x.abs().mean(1, keepdim=True) * packed.weight.abs().mean(1)
    product = torch.where(x >= 0, 1.0, -1.0) @ torch.where(packed.weight >= 0, 1.0, -1.0).T
    assert torch.allclose(packed(x), product * scale, atol=1e-5)


def test_incremental_freezes_the_largest_first(network):
    made = low_bit(network, "INQ", ends=False)
    layer = made[6]
    shadow = layer.weight.detach().clone()
    layers.advance(made, 0.3)
    rule = layer.weight_rule
    count = round(0.3 * shadow.numel())
    assert int(rule.frozen.sum()) == count
    assert float(shadow.abs()[rule.frozen].min()) >= float(shadow.abs()[~rule.frozen].max())
    expected = weights.incremental_round(shadow, weights.incremental_levels(float(shadow.abs().max())))
    seen = layer.seen_weight()
    assert torch.equal(seen[rule.frozen], expected[rule.frozen]) and torch.equal(
        seen[~rule.frozen], shadow[~rule.frozen]
    )
    seen.sum().backward()
    assert torch.equal(layer.weight.grad, (~rule.frozen).float())
    frozen = rule.frozen.clone()
    with torch.no_grad():
        layer.weight.add_(torch.randn_like(shadow))  # an optimizer's step, momentum and all
    layers.advance(made, 0.6)
    assert torch.equal(layer.seen_weight()[frozen], expected[frozen])
    assert int(rule.frozen.sum()) == round(0.6 * shadow.numel())


def test_stochastic_weights_are_tested_as_in_the_paper(network):
    layer = low_bit(network, "BinaryConnect, stochastic")[3]
    layer.train()
    assert layer.seen_weight().unique().tolist() == [-1, 1]
    assert not torch.equal(layer.seen_weight(), layer.seen_weight())
    layer.eval()
    assert torch.equal(layer.seen_weight(), layer.weight)
    layer.weight_rule.as_signs = True
    assert torch.equal(layer.seen_weight(), weights.binarize(layer.weight))


def test_norms_are_those_of_the_images(network, images):
    training.refresh_norms(network, images[0], batch=100)
    x = images[0].float() / 127.5 - 1
    first = torch.cat([network[0](part) for part in x.split(100)])
    assert torch.allclose(network[1].running_mean, first.mean((0, 2, 3)), atol=1e-5)
    assert not network.training and network[1].momentum == 0.1


def test_any_function_can_be_put_in(network):
    made = replace_layers(network, lambda layer: lambda w: w * 0, ends=True)
    assert bool((made[0](torch.randn(1, 3, 32, 32)) == 0).all())
    plain = replace_layers(network, lambda layer: lambda w: w, ends=True).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(plain(x), network.eval()(x), atol=1e-5)


def test_what_is_refused(network):
    with pytest.raises(ValueError, match="no method is called 'XNOR'"):
        low_bit(network, "XNOR")
    with pytest.raises(TypeError, match="Sequential"):
        replace_layers(nn.Linear(2, 2), lambda layer: torch.sign)
    with pytest.raises(ValueError, match="no layer to replace: the network has 2"):
        replace_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), lambda layer: torch.sign)
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(TypeError, match="groups"):
        replace_layers(grouped, lambda layer: torch.sign, ends=True)


def test_the_table_is_the_lectures():
    """Weights, activations, asterisk, loss, as the lecture prints them."""
    expected = {
        "BinaryConnect": ("1", "32", 19.2),
        "BWN": ("1*", "32", 0.8),
        "TWN": ("2*", "32", 3.7),
        "TTQ": ("2*", "32", 0.6),
        "XNOR-Net": ("1*", "1*", 11),
        "BNN": ("1", "1", 29.8),
        "DoReFa-Net": ("1*", "2*", 7.63),
        "QNN": ("1", "2*", 6.5),
        "HWGQ-Net": ("1*", "2*", 5.2),
        "LogNet": ("5", "4", 3.2),
        "INQ": ("5", "32", -0.2),
    }
    for name, (weight, activation, loss) in expected.items():
        method = methods.METHODS[name]
        assert (str(method.weight_bits), str(method.activation_bits)) == (weight.strip("*"), activation.strip("*"))
        assert method.keeps_ends == weight.endswith("*")
        assert method.alexnet_loss == loss


def test_shadow_weights_are_clipped_where_the_paper_does(network):
    for name, largest in (("BinaryConnect", 1.0), ("BNN", 1.0), ("BWN", 3.0)):
        made = low_bit(network, name)
        with torch.no_grad():
            made[3].weight[0, 0, 0] = torch.tensor([3.0, -3.0, 0.5])
        layers.after_step(made)
        assert made[3].weight[0, 0, 0].tolist() == [largest, -largest, 0.5]
