"""The demo's numbers against torch's own fake quantization, its pictures and its widgets."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from course_utils.demos.bits_and_accuracy import BitsAndAccuracy, bits_and_accuracy_demo, bits_and_accuracy_still, draw
from course_utils.networks.models import load_trained


def fake_quantize(x, scale, zero_point, quant_min, quant_max):
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, quant_min, quant_max)


@pytest.fixture(scope="module")
def images():
    g = torch.Generator().manual_seed(3)
    return torch.rand(60, 3, 32, 32, generator=g) * 2 - 1


@pytest.fixture(scope="module")
def model():
    return load_trained("classyclassifier-shapes")


@pytest.fixture
def network(model, images):
    with torch.no_grad():
        labels = model(images).argmax(1)
    return BitsAndAccuracy(model, images, labels, fake_quantize)


def by_hand(model, x, weight_bits, activation_bits):
    """ClassyClassifier with every grid written out, ranges taken layer by layer from the float network."""

    def layer(module, x, exact):
        low, high, top = min(float(exact.min()), 0), max(float(exact.max()), 0), 2**activation_bits - 1
        step = (high - low) / top
        x = fake_quantize(x, step, round(-low / step), 0, top)
        top = 2 ** (weight_bits - 1) - 1
        w = fake_quantize(module.weight, float(module.weight.abs().max()) / top, 0, -top, top)
        kind = nn.functional.conv2d if isinstance(module, nn.Conv2d) else nn.functional.linear
        return kind(x, w, module.bias), module(exact)

    with torch.no_grad():
        exact = x
        for m in model.children():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                x, exact = layer(m, x, exact)
                if m is not model.layer8_fc:
                    x, exact = x.relu(), exact.relu()
            else:
                x, exact = m(x), m(exact)
        return x


@pytest.mark.parametrize("bits", [(8, 8), (4, 3), (2, 8), (3, 2)])
def test_equals_the_network_written_out(network, model, images, bits):
    outcome = network.compute(*bits)
    classes = by_hand(model, images, *bits).argmax(1)
    # labels are the float network's answers: correct and unchanged are the same thing here
    assert outcome.accuracy == pytest.approx(float((classes == network.labels).float().mean()), abs=1e-6)
    assert outcome.changed == pytest.approx(1 - outcome.accuracy, abs=1e-6)
    assert outcome.float_accuracy == 1.0


def test_the_model_is_left_alone(network, model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network.compute(2, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_hooks_go_even_if_the_students_function_raises(model, images):
    def broken(*_):
        raise ZeroDivisionError("of mine")

    network = BitsAndAccuracy(model, images, torch.zeros(60, dtype=torch.int64), broken)
    with pytest.raises(ZeroDivisionError):
        network.compute(4, 4)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert "ZeroDivisionError" in bits_and_accuracy_demo(network).children[-1].value


def test_histogram_of_the_chosen_layer(network, model):
    outcome = network.compute(4, 8, "layer6_fc")
    assert outcome.weights.size == model.layer6_fc.weight.numel()
    assert len(np.unique(outcome.quantized)) <= 15
    assert np.abs(outcome.quantized - outcome.weights).max() <= 0.5001 * outcome.step
    assert "weights 4 bit · activations 8 bit" in outcome.summary


def test_refusals(network, model, images):
    for bits in ((1, 8), (8, 9), (2.5, 4)):
        with pytest.raises(ValueError, match="bits are 2 to 8"):
            network.compute(*bits)
    with pytest.raises(KeyError):
        network.compute(4, 4, "layer9")
    with pytest.raises(ValueError, match="one label an image"):
        BitsAndAccuracy(model, images, torch.zeros(3, dtype=torch.int64), fake_quantize)
    with pytest.raises(ValueError, match="no Conv2d and no Linear"):
        BitsAndAccuracy(nn.Flatten(), images, torch.zeros(60, dtype=torch.int64), fake_quantize)


def test_draw_twice_leaves_one_picture(network):
    axes = Figure().subplots(1, 2)
    draw(network.compute(4, 4), axes)
    first = [len([*ax.lines, *ax.collections, *ax.patches]) for ax in axes]
    draw(network.compute(4, 4), axes)
    assert [len([*ax.lines, *ax.collections, *ax.patches]) for ax in axes] == first
    assert axes[0].get_xlabel() == "weight of layer1_conv" and axes[1].get_xlabel() == "bits of the weights"


def test_seen_settings_make_lines(network):
    axes = Figure().subplots(1, 2)
    draw(network.compute(4, 4), axes, {(2, 4): 0.25, (8, 4): 0.75, (8, 8): 0.9})
    lines = {line.get_label(): line for line in axes[1].lines}
    line = lines["activations 4 bit"]
    assert list(line.get_xdata()) == [2, 4, 8]
    assert list(line.get_ydata()) == [25, pytest.approx(100 * network.compute(4, 4).accuracy), 75]
    assert list(lines["activations 8 bit"].get_xdata()) == [8]


def test_still_has_a_column_for_each_setting(network):
    figure = bits_and_accuracy_still(network, [(8, 8), (3, 4)])
    assert len(figure.axes) == 4
    assert figure.axes[1].get_title().startswith("3 bit weights")


def test_demo_follows_its_sliders(network):
    box = bits_and_accuracy_demo(network)
    weight_bits, activation_bits, layer, picture = box.children
    seen = {picture.value}
    for control, value in ((weight_bits, 2), (activation_bits, 3), (layer, "layer8_fc")):
        control.value = value
        seen.add(picture.value)
    assert len(seen) == 4
    assert "weights 2 bit · activations 3 bit" in picture.value and "<img alt=" in picture.value
